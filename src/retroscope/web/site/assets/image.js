// The page of an image: pointing at a unit frames what it saw.
"use strict";
(() => {
  const where = document.getElementById("where");
  const frame = (link) => {
    const [top, left, bottom, right] = link.dataset.box.split(" ").map(Number);
    for (const id of ["halo", "box"]) {
      const shape = document.getElementById(id);
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
        shape.setAttribute(name, value);
      }
    }
    where.textContent = `${link.querySelector("img").alt}: y ${top} to ${bottom}, x ${left} to ${right}`;
  };
  // A first tap frames; a second one follows the link.
  let framed = null;
  let tapped = false;
  document.addEventListener("pointerdown", (event) => (tapped = event.pointerType !== "mouse"));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-box]");
    if (!link || !tapped || link === framed) return;
    event.preventDefault();
    framed = link;
    frame(link);
    where.scrollIntoView({ block: "nearest" });
  });
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const link = event.target.closest("[data-box]");
      if (link) frame(link);
    });
  }
})();
