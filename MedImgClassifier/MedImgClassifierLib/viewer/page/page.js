// What a template cannot do: sending files with progress, and keys that work wherever the focus is.
(function () {
  let request = null;

  function set(name, value) { window.trame.state.set(name, value); }

  function send(files, failed) {
    if (!files.length || request) return;
    const form = new FormData();
    for (const [file, path] of files) form.append("file", file, path);
    request = new XMLHttpRequest();
    request.open("POST", "upload");
    request.upload.onprogress = (event) => {
      if (event.lengthComputable) set("upload", { percent: Math.floor((100 * event.loaded) / event.total) });
    };
    request.onloadend = () => {
      const { status, responseText } = request;
      request = null;
      set("upload", null);
      if (status === 200 || cancelled) return;
      let error = failed;
      try { error = JSON.parse(responseText).error || failed; } catch (broken) { /* the server has gone */ }
      set("upload_error", error);
    };
    cancelled = false;
    set("upload_error", "");
    set("upload", { percent: 0 });
    request.send(form);
  }
  let cancelled = false;

  // All files below what was dropped, with their paths.
  async function dropped(items) {
    const found = [];
    async function walk(entry, path) {
      if (entry.isFile) {
        const file = await new Promise((done, fail) => entry.file(done, fail));
        found.push([file, path + entry.name]);
      } else {
        const reader = entry.createReader();
        for (;;) { // a reader gives 100 entries at a time
          const some = await new Promise((done, fail) => reader.readEntries(done, fail));
          if (!some.length) break;
          for (const inner of some) await walk(inner, path + entry.name + "/");
        }
      }
    }
    for (const entry of items) await walk(entry, "");
    return found;
  }

  const medimg = {
    async drop(event, failed) {
      const files = [...event.dataTransfer.files].map((file) => [file, file.name]);
      const entries = [...event.dataTransfer.items].map((item) => item.webkitGetAsEntry()).filter((entry) => entry);
      // a file that a program dropped has no entry
      try { send(entries.length ? await dropped(entries) : files, failed); } catch (unreadable) { set("upload_error", failed); }
    },
    choose(folder, failed) {
      const input = document.createElement("input");
      input.type = "file";
      input.multiple = true;
      input.webkitdirectory = folder;
      input.onchange = () => send([...input.files].map((file) => [file, file.webkitRelativePath || file.name]), failed);
      input.click();
    },
    cancel() {
      cancelled = true;
      if (request) request.abort();
    },
    rowAt(event, count) {
      const box = event.currentTarget.getBoundingClientRect();
      const row = Math.floor(((event.clientX - box.left) / box.width) * count);
      return Math.min(count - 1, Math.max(0, row));
    },
  };

  // The table draws only the rows that are seen: bring the one that the views show among them.
  const ROW_HEIGHT = 36;
  function showRow(row) {
    const wrapper = document.querySelector(".table .v-table__wrapper");
    if (!wrapper || row === null) return;
    const rows = [...window.trame.state.get("rows")];
    for (const { key, order } of [...(window.trame.state.get("sort_by") || [])].reverse()) {
      const sign = order === "desc" ? -1 : 1;
      rows.sort((a, b) => sign * (a[key] > b[key] ? 1 : a[key] < b[key] ? -1 : 0));
    }
    const top = rows.findIndex((entry) => entry.row === row) * ROW_HEIGHT;
    const seen = wrapper.clientHeight - 2 * ROW_HEIGHT; // without the header
    if (top < wrapper.scrollTop || top > wrapper.scrollTop + seen) wrapper.scrollTop = Math.max(0, top - seen / 2);
  }

  window.trame.utils.medimg = medimg;
  // once the table has drawn itself; a new table takes its time
  window.trame.state.watch(["row", "rows"], (row) => [50, 500].forEach((ms) => setTimeout(showRow, ms, row)));
  window.trame.state.watch(["language"], (language) => { document.documentElement.lang = language; });
  // what a page that is gone was doing
  for (const [name, value] of [["upload", null], ["upload_error", ""], ["dragging", false]]) set(name, value);
  if (window.innerWidth < 960) set("drawer", false); // it would lie over the views
  // a file that is dropped beside its place does not take the page's place
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
  window.addEventListener("keydown", (event) => {
    const direction = { PageUp: -1, PageDown: 1 }[event.key];
    if (direction && event.ctrlKey && event.altKey) {
      event.preventDefault();
      window.trame.trigger("go_to_key_slice", [direction]);
    }
  });
})();
