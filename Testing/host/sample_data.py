"""The module `SampleData`: records what is registered; downloads nothing."""

from __future__ import annotations

from typing import Any


class SampleDataLogic:
    sources: list[dict[str, Any]] = []

    @staticmethod
    def registerCustomSampleDataSource(
        category: str = "Custom",
        sampleName: str | None = None,
        uris: Any = None,
        fileNames: Any = None,
        nodeNames: Any = None,
        customDownloader: Any = None,
        thumbnailFileName: str | None = None,
        loadFileTypes: Any = None,
        loadFiles: Any = None,
        loadFileProperties: Any = None,
        checksums: Any = None,
    ) -> None:
        SampleDataLogic.sources.append(dict(locals()))

    @staticmethod
    def registerCustomSampleDataCategory(category: str, title: str | None = None) -> None:
        """A heading of the Sample Data module; there is none to see here."""
