// Opens a page of an exported site whose file, a pack, has several: the one that the address names.
// It is written into this document while that is read, so it becomes what a file of its own would be.
"use strict";
(() => {
  const { key, size, pack } = document.currentScript.dataset;
  const text = new URLSearchParams(location.search).get(key) ?? "";
  if (!/^\d{1,9}$/.test(text)) return;
  const number = Number(text);
  const first = number - (number % size);
  const GAP = "\x01";
  globalThis.retroscope = {
    // Called by a pack: its pages by their numbers. A line is the number of a text, with what fills
    // the gaps of the text.
    showPage(pages, texts) {
      if (!(number in pages)) return;
      const pieces = texts.map((content) => content.split(GAP));
      const line = (entry) => {
        const [index, ...values] = [entry].flat();
        return pieces[index].map((piece, n) => (n ? values[n - 1] + piece : piece)).join("");
      };
      document.write(pages[number].map(line).join("\n"));
      addEventListener("DOMContentLoaded", () => document.getElementById("no-page").remove());
    },
  };
  const file = pack.replace("{pack}", `${first}-${first + Number(size) - 1}`);
  document.write(`<script src="${file}"></script>`);
})();
