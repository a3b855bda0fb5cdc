// Opens a page of an exported site whose file, a pack, has several: the one that the address names.
// It is written into this document while that is read, so it becomes what a file of its own would be.
"use strict";
(() => {
  const { key, size, pack } = document.currentScript.dataset;
  const text = new URLSearchParams(location.search).get(key) ?? "";
  if (!/^\d{1,9}$/.test(text)) return;
  const number = Number(text);
  const first = number - (number % size);
  globalThis.retroscope = {
    // Called by a pack: its pages by their numbers, each as the numbers of its lines.
    showPage(pages, lines) {
      if (!(number in pages)) return;
      document.write(pages[number].map((line) => lines[line]).join("\n"));
      addEventListener("DOMContentLoaded", () => document.getElementById("no-page").remove());
    },
  };
  const file = pack.replace("{pack}", `${first}-${first + Number(size) - 1}`);
  document.write(`<script src="${file}"></script>`);
})();
