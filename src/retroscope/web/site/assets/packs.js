// Images of an exported site. A script, a pack, has those of several units: data-packed names it, and
// after a # the key of the image. It is loaded when the element comes near the window.
"use strict";
(() => {
  const MARGIN = "800px";
  const BLANK = "data:image/gif;base64,R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7";
  const packs = new Map();
  const loadPack = (url) => {
    if (!packs.has(url)) {
      // No other script runs between a pack and this.
      const pack = retroscope.loadScript(url).then(() => retroscope.pack);
      pack.catch(() => packs.delete(url)); // the next image tries again
      packs.set(url, pack);
    }
    return packs.get(url);
  };
  const sourceName = (image) => (image instanceof SVGElement ? "href" : "src");
  // Gives an element its image.
  retroscope.loadPacked = async (image) => {
    const address = image.dataset.packed;
    const [url, key] = address.split("#");
    const pack = await loadPack(url);
    if (image.dataset.packed === address) image.setAttribute(sourceName(image), `data:image/webp;base64,${pack[key]}`);
  };
  const showText = (image) => image.removeAttribute(sourceName(image));

  // A part of a drawing has no box of its own in every browser: the drawing is observed.
  const boxOf = (image) => image.closest("svg.crop") ?? image;
  const packedIn = (element) => [
    ...(element.matches("[data-packed]") ? [element] : []),
    ...element.querySelectorAll("[data-packed]"),
  ];
  const observer = new IntersectionObserver(
    (entries) => {
      for (const { target, isIntersecting } of entries) {
        if (!isIntersecting) continue;
        observer.unobserve(target);
        for (const image of packedIn(target)) retroscope.loadPacked(image).catch(() => showText(image));
      }
    },
    { rootMargin: MARGIN },
  );
  const watch = (element) => {
    for (const image of packedIn(element)) {
      if (image instanceof HTMLImageElement && !image.hasAttribute("src")) image.src = BLANK;
      observer.observe(boxOf(image));
    }
  };
  new MutationObserver((changes) => {
    for (const { type, target, addedNodes } of changes) {
      if (type === "attributes") watch(target);
      for (const node of addedNodes) if (node instanceof Element) watch(node);
    }
  }).observe(document.body, { childList: true, subtree: true, attributeFilter: ["data-packed"] });
  watch(document.body);
})();
