"""What the server says of pages that have gone, and of what is really wrong."""

from __future__ import annotations

import asyncio
import gc

import pytest

from MedImgClassifierLib.viewer.serving import without_lost_pages


@pytest.mark.parametrize(
    ("error", "told"), [(ConnectionResetError("closing transport"), False), (ValueError("a fault"), True)]
)
def test_a_page_that_has_gone_is_no_error(error: Exception, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    async def fail() -> None:
        raise error

    async def serve() -> None:
        asyncio.get_running_loop().set_exception_handler(without_lost_pages)
        task = asyncio.create_task(fail())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        del task
        gc.collect()

    asyncio.run(serve())
    assert (str(error) in caplog.text) is told
