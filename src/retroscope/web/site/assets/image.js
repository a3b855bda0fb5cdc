// The page of an image: pointing at a unit frames its receptive field; with a network, its classes.
"use strict";
(() => {
  const image = document.querySelector(".whole-image");
  const caption = document.getElementById("frame-caption");
  // -- of a volume one slice is on show: that in the middle of the field of the unit on show
  const [volume] = JSON.parse(document.getElementById("volume")?.textContent ?? "[]");
  const panel = image.closest(".context");
  const showSlice = (hit, z) => {
    retroscope.slices.attach(panel, panel, hit);
    retroscope.slices.show(panel, hit, z);
  };
  const showSlices = ([first, last, shown]) => {
    showSlice({ ...volume, rank: 0, slices: { ...volume.slices, first, last, middle: shown, shown: -1 } }, shown);
    return `slices ${first + 1} to ${last + 1}, `;
  };
  if (volume) showSlice({ ...volume, rank: 0, slices: { ...volume.slices, middle: volume.slices.shown, shown: -1 } }, volume.slices.shown);
  const showFrame = (link) => {
    const readNumbers = (text) => (text ? text.split(" ").map(Number) : null);
    const box = readNumbers(link.dataset.box);
    const [top, left, bottom, right] = box;
    const { width, height } = image.viewBox.baseVal;
    retroscope.markField(image, { box, middle: readNumbers(link.dataset.middle), size: [height, width] });
    const slices = volume ? showSlices(readNumbers(link.dataset.slices)) : "";
    caption.textContent = `Receptive field of ${link.dataset.unit}: ${slices}y ${top} to ${bottom}, x ${left} to ${right}`;
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

  // -- all units at once
  const frames = image.querySelector(".frames");
  const allFrames = document.getElementById("all-frames");
  const restore = () => {
    allFrames.checked = retroscope.options.read().get("frames") === "all";
    frames.toggleAttribute("hidden", !allFrames.checked);
  };
  allFrames.addEventListener("change", () => {
    retroscope.options.write({ frames: allFrames.checked ? "all" : "" }, { frames: "" });
    restore();
  });
  addEventListener("hashchange", restore);
  restore();

  // -- what the network says about the image, if there is one
  if (!retroscope.model) return;
  const number = document.body.dataset.image;
  const list = document.getElementById("predictions");
  const status = document.getElementById("prediction-status");
  const photo = image.querySelector("image");
  const source = photo.getAttribute("href");
  let requests = new AbortController();
  const run = async (params, showResult) => {
    requests.abort();
    requests = new AbortController();
    const { signal } = requests;
    const onWait = (text) => (status.textContent = text || "Running …");
    onWait("");
    try {
      for await (const facts of retroscope.requestAnalysis({ ...params, image: number }, { signal, onWait })) {
        showResult(facts);
      }
      status.textContent = "";
    } catch (error) {
      if (!signal.aborted) status.textContent = error.message;
    }
  };
  list.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const isShown = button.getAttribute("aria-pressed") === "true";
    for (const other of list.querySelectorAll("button")) other.setAttribute("aria-pressed", "false");
    if (isShown) {
      photo.setAttribute("href", source);
      caption.textContent = "";
      return;
    }
    button.setAttribute("aria-pressed", "true");
    run({ analysis: "cam", target: button.dataset.target }, ({ image: heat, title }) => {
      photo.setAttribute("href", heat);
      caption.textContent = title;
    });
  });
  const showClasses = () =>
    run({ analysis: "classify" }, ({ predictions = [] }) => list.replaceChildren(...retroscope.predictionItems(predictions)));
  // What came with the image comes first: if it is gone, so are the classes.
  const showInputs = ({ others }) => retroscope.showInputs(document.getElementById("others"), others);
  if (retroscope.model.inputs?.others.length) {
    run({ analysis: "inputs" }, showInputs).then(() => status.textContent || showClasses());
  } else showClasses();
})();
