// The page of an image: pointing at a unit frames its receptive field.
"use strict";
(() => {
  const image = document.querySelector(".whole-image");
  const caption = document.getElementById("frame-caption");
  const showFrame = (link) => {
    const readNumbers = (text) => (text ? text.split(" ").map(Number) : null);
    const box = readNumbers(link.dataset.box);
    const [top, left, bottom, right] = box;
    const { width, height } = image.viewBox.baseVal;
    retroscope.markField(image, { box, middle: readNumbers(link.dataset.middle), size: [height, width] });
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
