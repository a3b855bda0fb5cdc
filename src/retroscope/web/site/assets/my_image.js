// The reader's own image: uploaded to the local server with each request; results appear as they arrive.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const uploadStatus = byId("upload-status");
  const inputImage = byId("input-image");
  let upload = null; // the file
  let networkInput = null; // the image as the network receives it
  let size = [1, 1];
  let target = "";
  let session = 0; // results for an earlier image are dropped
  let requests = new AbortController(); // those for this image
  const RETRY_MILLISECONDS = 1000;

  const formatNumber = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−"));
  const formatPercent = (share) => {
    if (share === null) return "–";
    return share > 0 && share < 0.0001 ? "under 0.01 %" : `${Number((100 * share).toPrecision(2))} %`;
  };

  // -- requests
  async function* requestAnalysis(analysis, params = {}) {
    const query = new URLSearchParams({ analysis, ...params });
    const url = `${document.body.dataset.analysis}?${query}`;
    const response = await fetch(url, { method: "POST", body: upload, signal: requests.signal });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    try {
      for (;;) {
        const { value, done } = await reader.read();
        text += value ?? (done ? "\n" : "");
        const lines = text.split("\n");
        text = lines.pop();
        for (const line of lines.filter(Boolean)) {
          const facts = JSON.parse(line);
          if (facts.error) throw new Error(facts.error);
          yield facts;
        }
        if (done) return;
      }
    } finally {
      reader.cancel().catch(() => {}); // rejected if the request was aborted
    }
  }
  // Whether the analysis was completed.
  const analyze = async (analysis, params, showResult) => {
    const started = session;
    uploadStatus.textContent = "Running …";
    try {
      for await (const facts of requestAnalysis(analysis, params)) {
        if (started !== session) return false;
        showResult(facts);
      }
      if (started === session) uploadStatus.textContent = "";
      return true;
    } catch (error) {
      if (started === session) uploadStatus.textContent = error.message;
      return false;
    }
  };

  // -- a new image
  const startSession = () => {
    session += 1;
    requests.abort();
    requests = new AbortController();
  };
  const openImage = async (blob) => {
    startSession();
    upload = blob;
    target = "";
    byId("unusual").replaceChildren();
    byId("predictions").replaceChildren();
    byId("unit").hidden = true;
    await analyze("overview", {}, showOverview);
  };
  const showOverview = (facts) => {
    if (facts.image) {
      networkInput = facts.image;
      size = facts.size;
      byId("analysis").hidden = false;
      showInput();
    }
    if (facts.predictions) showPredictions(facts.predictions);
    if (facts.layer) showLayer(facts);
  };
  const inputTitle = "Your image, resized and cropped for the network.";
  const showInput = () => showImage({ src: networkInput, title: inputTitle, view: "image" });
  const showImage = ({ src, title, view, notes = [], unit = null }) => {
    inputImage.src = src;
    byId("notes").textContent = notes.join(" ");
    selectUnit(unit, title);
    for (const button of document.querySelectorAll("[data-show]")) {
      button.setAttribute("aria-pressed", String(button.dataset.show === view));
    }
  };
  const showPredictions = (predictions) => {
    byId("predictions").replaceChildren(
      ...predictions.map(({ index, target: label, probability }) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        const bar = document.createElement("progress");
        const figure = document.createElement("span");
        button.type = "button";
        button.className = "quiet";
        button.textContent = button.title = label;
        button.dataset.target = index;
        button.setAttribute("aria-pressed", String(String(index) === target));
        bar.max = 1;
        bar.value = probability;
        bar.setAttribute("aria-label", `probability of ${label}`);
        figure.className = "figure";
        figure.textContent = formatPercent(probability);
        item.append(button, bar, figure);
        return item;
      }),
    );
  };
  const showLayer = ({ layer, units }) => {
    const section = document.createElement("section");
    const title = document.createElement("h3");
    const list = document.createElement("ul");
    title.className = "note";
    title.textContent = layer;
    list.className = "plates six stacked";
    list.append(
      ...units.map((unit) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        const thumbnail = document.createElement("span");
        const plate = document.createElement("img");
        const caption = document.createElement("span");
        const name = document.createElement("b");
        const fact = document.createElement("span");
        item.className = "plate";
        button.type = "button";
        button.className = "plain-button";
        thumbnail.className = "thumbnail";
        plate.src = retroscope.root + unit.plate;
        plate.width = plate.height = 160;
        plate.alt = `Patches of ${unit.unit} in the atlas`;
        plate.classList.toggle("pixels", unit.pixelated);
        caption.className = "caption";
        name.textContent = unit.channel;
        fact.textContent =
          unit.rarity === null ? formatNumber(unit.activation) : formatPercent(unit.rarity);
        thumbnail.append(plate);
        caption.append(name, fact);
        button.append(thumbnail, caption);
        button.addEventListener("click", () => showUnit(unit.unit));
        // Only if the pointer moves, not if the page scrolls under it.
        button.addEventListener("pointermove", ({ movementX, movementY }) => {
          if (movementX || movementY) previewUnit(unit, fieldCaption(unit));
        });
        button.addEventListener("pointerleave", () => previewUnit(...selectedUnit));
        item.append(button);
        return item;
      }),
    );
    section.append(title, list);
    byId("unusual").append(section);
  };

  // -- the field of a unit in the image: selected, or previewed while the pointer is on the unit
  let selectedUnit = [null, ""];
  const fieldCaption = ({ unit, middle }) => {
    const mark = middle ? "Ringed: the middle of" : "Framed:";
    return `${mark} the receptive field of ${unit}.`;
  };
  const selectUnit = (unit, text) => {
    selectedUnit = [unit, text];
    previewUnit(unit, text);
  };
  const previewUnit = (unit, text) => {
    byId("overlay").toggleAttribute("hidden", !unit);
    if (unit) retroscope.markField(byId("overlay"), { box: unit.field, middle: unit.middle, size });
    byId("caption").textContent = text;
  };
  const showUnit = (unit) =>
    analyze("unit", { unit }, (facts) => {
      const [channel] = facts.unit.split("@");
      byId("unit").hidden = false;
      byId("unit-name").textContent = facts.unit;
      byId("unit-name").href = retroscope.root + facts.href;
      byId("unit-activation").textContent = `activation ${formatNumber(facts.activation)}`;
      byId("map").src = facts.map;
      byId("map").dataset.unit = channel;
      byId("map").dataset.size = facts.map_size;
      for (const name of ["patch", "projection", "lit", "contrast"]) {
        byId(name).src = facts[name];
        byId(name).classList.toggle("pixels", facts.field[3] - facts.field[1] < 64);
      }
      showImage({ src: networkInput, title: fieldCaption(facts), view: "image", notes: facts.notes, unit: facts });
      byId("unit").scrollIntoView({ block: "nearest", behavior: "auto" });
    });
  byId("map").addEventListener("click", (event) => {
    const map = byId("map");
    const [height, width] = map.dataset.size.split(",").map(Number);
    const rect = map.getBoundingClientRect();
    const y = Math.min(Math.max(Math.floor(((event.clientY - rect.top) / rect.height) * height), 0), height - 1);
    const x = Math.min(Math.max(Math.floor(((event.clientX - rect.left) / rect.width) * width), 0), width - 1);
    showUnit(`${map.dataset.unit}@${y},${x}`);
  });
  byId("map").addEventListener("keydown", (event) => {
    const [, y, x] = /@(\d+),(\d+)$/.exec(byId("unit-name").textContent).map(Number);
    const [height, width] = byId("map").dataset.size.split(",").map(Number);
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const position = [Math.min(Math.max(y + step[0], 0), height - 1), Math.min(Math.max(x + step[1], 0), width - 1)];
    showUnit(`${byId("map").dataset.unit}@${position}`);
  });

  // -- heat maps of a class
  const showHeatMap = (analysis) =>
    analyze(analysis, target === "" ? {} : { target }, ({ image, title, caveats }) =>
      showImage({ src: image, title, view: analysis, notes: caveats }),
    );
  byId("predictions").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    target = button.dataset.target;
    for (const option of byId("predictions").querySelectorAll("button")) {
      option.setAttribute("aria-pressed", String(option === button));
    }
    showHeatMap("cam");
  });
  byId("analysis").addEventListener("click", (event) => {
    const view = event.target.closest("[data-show]")?.dataset.show;
    if (view === "image") showInput();
    else if (view) showHeatMap(view);
  });

  // -- drop, paste, file picker, camera
  const openFile = (files) => {
    const file = [...(files ?? [])].find((candidate) => candidate.type.startsWith("image/"));
    if (!file) {
      if (files?.length) uploadStatus.textContent = "Not an image.";
      return;
    }
    stopCamera();
    openImage(file);
  };
  byId("file").addEventListener("change", (event) => openFile(event.target.files));
  addEventListener("paste", (event) => openFile(event.clipboardData.files));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    openFile(event.dataTransfer.files);
  });
  const camera = byId("camera");
  const video = byId("video");
  let stream = null;
  const stopCamera = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    camera.textContent = "Camera";
  };
  const captureFrame = () => {
    const canvas = document.createElement("canvas");
    const scale = Math.min(1, 640 / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  };
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  // A frame is sent only after the result of the last one, so the machine sets the rate.
  const classifyFrames = async (camera) => {
    while (stream === camera) {
      upload = await captureFrame();
      if (stream !== camera) return;
      const url = URL.createObjectURL(upload);
      byId("analysis").hidden = false;
      inputImage.src = url;
      const completed = await analyze("classify", {}, showOverview);
      URL.revokeObjectURL(url);
      if (!completed) await pause(RETRY_MILLISECONDS);
    }
  };
  camera.addEventListener("click", async () => {
    if (stream) {
      const frame = await captureFrame();
      stopCamera();
      openImage(frame);
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
    } catch (error) {
      uploadStatus.textContent = `Camera not available: ${error.message}`;
      return;
    }
    startSession();
    byId("unusual").replaceChildren();
    byId("unit").hidden = true;
    selectUnit(null, "Camera image.");
    camera.textContent = "Use this frame";
    video.srcObject = stream;
    await video.play();
    classifyFrames(stream);
  });
  if (!navigator.mediaDevices) camera.hidden = true;
  openFile(byId("file").files); // chosen before this script loaded, or restored by the browser
})();
