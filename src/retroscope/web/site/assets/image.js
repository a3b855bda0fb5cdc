// The page of an image: pointing at a unit frames its receptive field.
"use strict";
(() => {
  const caption = document.getElementById("frame-caption");
  const showFrame = (link) => {
    const [top, left, bottom, right] = link.dataset.box.split(" ").map(Number);
    for (const id of ["halo", "box"]) {
      const shape = document.getElementById(id);
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
        shape.setAttribute(name, value);
      }
    }
    caption.textContent = `Receptive field of ${link.dataset.unit}: y ${top} to ${bottom}, x ${left} to ${right}`;
  };
  // The first tap frames; the second follows the link.
  let framedLink = null;
  let isTouch = false;
  document.addEventListener("pointerdown", (event) => (isTouch = event.pointerType !== "mouse"));
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-box]");
    if (!link || !isTouch || link === framedLink) return;
    event.preventDefault();
    framedLink = link;
    showFrame(link);
    caption.scrollIntoView({ block: "nearest" });
  });
  for (const kind of ["pointerover", "focusin"]) {
    document.addEventListener(kind, (event) => {
      const link = event.target.closest("[data-box]");
      if (link) showFrame(link);
    });
  }
})();
