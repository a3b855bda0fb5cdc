// The reader's own image: uploaded to the local server with each request; results appear as they arrive.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const uploadStatus = byId("upload-status");
  const inputImage = byId("input-image");
  let upload = null; // the file
  let stored = null; // or the number of an image of the atlas
  let networkInput = null; // the image as the network receives it
  let size = [1, 1];
  let target = "";
  let session = 0; // results for an earlier image are dropped
  let requests = new AbortController(); // those for this image
  const PAUSE_MILLISECONDS = 1000; // of the camera after a frame that failed

  const formatNumber = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−"));
  const { formatPercent, otherInputs } = retroscope;

  // -- requests
  const say = (text, isAlarm = false) => {
    uploadStatus.textContent = text;
    uploadStatus.classList.toggle("alarm", isAlarm);
  };
  // Whether the analysis was completed. It waits for a busy server.
  const analyze = async (analysis, params, showResult) => {
    const started = session;
    const onWait = (text) => started === session && say(text || "Running …", Boolean(text));
    onWait("");
    try {
      const query = { analysis, ...params, ...(stored === null ? {} : { image: stored }) };
      const body = stored === null ? otherInputs.addTo(upload) : null;
      const options = { body, signal: requests.signal, onWait };
      for await (const facts of retroscope.requestAnalysis(query, options)) {
        if (started !== session) return false;
        showResult(facts);
      }
      if (started === session) say("");
      return true;
    } catch (error) {
      if (started === session) say(error.message, true);
      return false;
    }
  };

  // -- a new image
  const startSession = () => {
    session += 1;
    requests.abort();
    requests = new AbortController();
  };
  const clearResults = () => {
    networkInput = null;
    target = "";
    byId("analysis").hidden = true;
    byId("unusual").replaceChildren();
    byId("predictions").replaceChildren();
    byId("unit").hidden = true;
    byId("target-problem").textContent = "";
  };
  const openImage = async (blob, { number = null, title } = {}) => {
    startSession();
    const started = session;
    upload = blob;
    stored = number;
    inputTitle = title ?? "Your image, resized and cropped for the network.";
    clearResults();
    for (const sample of document.querySelectorAll("[data-sample]")) {
      sample.setAttribute("aria-pressed", String(sample.dataset.sample === number));
    }
    retroscope.options.write({ image: number ?? "" }, { image: "" });
    if (blob && otherInputs.request()) return say(otherInputs.request());
    const completed = await analyze("overview", {}, showOverview);
    if (!completed && started === session && !networkInput) {
      if (!otherInputs.areAsked) byId("file").value = ""; // the same file may be chosen again
      clearResults();
    }
  };
  const showOverview = (facts) => {
    if (facts.image) {
      networkInput = facts.image;
      size = facts.size;
      inputNotes = facts.notes;
      retroscope.showInputs(byId("others"), facts.others);
      byId("analysis").hidden = false;
      showInput();
    }
    if (facts.predictions) showPredictions(facts.predictions);
    if (facts.layer) showLayer(facts);
  };
  let inputTitle = "";
  let inputNotes = [];
  const showInput = () =>
    showImage({ src: networkInput, title: inputTitle, view: "image", notes: inputNotes });
  const showImage = ({ src, title, view, notes = [], unit = null }) => {
    inputImage.src = src;
    byId("notes").textContent = notes.join(" ");
    selectUnit(unit, title);
    for (const button of document.querySelectorAll("[data-show]")) {
      button.setAttribute("aria-pressed", String(button.dataset.show === view));
    }
  };
  const showPredictions = (predictions) => {
    byId("predictions").replaceChildren(...retroscope.predictionItems(predictions, target));
    byId("top-title").textContent = titleOf(predictions);
    const last = predictions.at(-1); // an example of a target that this network has
    if (last) byId("target").placeholder = String(last.spec ?? last.target);
  };
  const titleOf = (predictions) => {
    if (predictions.some(({ box }) => box)) return "Boxes";
    return predictions.some(({ label }) => label !== undefined) ? "Segments" : "Predicted classes";
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

  // -- heat maps of a target
  const showHeatMap = (analysis) =>
    analyze(analysis, target === "" ? {} : { target }, ({ image, title, notes, caveats }) =>
      showImage({ src: image, title, view: analysis, notes: [...notes, ...caveats] }),
    );
  byId("predictions").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button || !networkInput) return; // a frame of the camera is gone
    chooseTarget(button.dataset.target, button);
  });
  byId("other-target").addEventListener("submit", async (event) => {
    event.preventDefault();
    if (!networkInput) return;
    const isShown = await chooseTarget(byId("target").value.trim());
    byId("target-problem").textContent = isShown ? "" : uploadStatus.textContent;
  });
  const chooseTarget = (chosen, pressed = null) => {
    target = chosen;
    for (const option of byId("predictions").querySelectorAll("button")) {
      option.setAttribute("aria-pressed", String(option === pressed));
    }
    byId("target-problem").textContent = "";
    return showHeatMap("cam");
  };
  byId("analysis").addEventListener("click", (event) => {
    const view = event.target.closest("[data-show]")?.dataset.show;
    if (!view || !networkInput) return;
    if (view === "image") showInput();
    else showHeatMap(view);
  });

  // -- drop, paste, file picker, samples
  const openFile = (files) => {
    const [file, ...more] = files ?? [];
    if (!file) return;
    stopCamera();
    if (otherInputs.isImage(file)) {
      upload = null; // so that the others do not start an analysis of the last image
      otherInputs.take(more);
      openImage(file);
      return;
    }
    startSession();
    clearResults();
    byId("file").value = "";
    say(`${file.name} is not an image; choose a JPEG, PNG, WebP, GIF, BMP, TIFF or NPY file.`, true);
  };
  byId("file").addEventListener("change", (event) => openFile(event.target.files));
  // Files for the image; once there is one, for other images that are asked for.
  const openNext = (files) => {
    if (upload && otherInputs.take([...files])) return;
    openFile(files);
  };
  addEventListener("paste", (event) => openNext(event.clipboardData.files));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    const zone = event.target.closest(".drop-zone");
    const input = zone?.dataset.input;
    if (input) otherInputs.take([...event.dataTransfer.files], input);
    else (zone ? openFile : openNext)(event.dataTransfer.files);
  });
  const openStored = (number) => {
    stopCamera();
    openImage(null, { number, title: `Image ${number} of the atlas, as the network receives it.` });
  };
  byId("samples")?.addEventListener("click", (event) => {
    const sample = event.target.closest("[data-sample]");
    if (sample) openStored(sample.dataset.sample);
  });

  // -- other inputs of the network
  otherInputs.onChange = (problem) => {
    if (problem) say(problem, true);
    else if (upload && !stream) openImage(upload, { title: inputTitle });
  };

  // -- camera
  const camera = byId("camera");
  const video = byId("video");
  let stream = null;
  const stopCamera = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    video.srcObject = null;
    camera.textContent = "Camera";
  };
  // Null if the camera has not delivered an image yet.
  const captureFrame = () => {
    if (!video.videoWidth) return null;
    const canvas = document.createElement("canvas");
    const scale = Math.min(1, 640 / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  };
  let frameUrl = null;
  const showFrame = (frame) => {
    const url = URL.createObjectURL(frame);
    inputImage.src = url;
    if (frameUrl) URL.revokeObjectURL(frameUrl);
    frameUrl = url;
  };
  const untilVisible = () =>
    new Promise((resolve) => {
      const check = () => {
        if (document.hidden) return;
        document.removeEventListener("visibilitychange", check);
        resolve();
      };
      document.addEventListener("visibilitychange", check);
      check();
    });
  // The predictions of one frame; what went wrong, or "".
  const classifyFrame = async (frame) => {
    try {
      const options = { body: otherInputs.addTo(frame), signal: requests.signal };
      for await (const facts of retroscope.requestAnalysis({ analysis: "classify" }, options)) {
        if (facts.predictions) showPredictions(facts.predictions);
      }
      return "";
    } catch (error) {
      return error.isPassing ? `${error.message}; the camera goes on as soon as it can …` : error.message;
    }
  };
  // A frame is sent only after the result of the last one, so the machine sets the rate. A failed
  // frame is dropped: the next one is newer.
  const classifyFrames = async (source) => {
    while (stream === source) {
      await untilVisible();
      const frame = await captureFrame();
      if (stream !== source) return;
      if (!frame) {
        await retroscope.pause(100);
        continue;
      }
      byId("analysis").hidden = false;
      showFrame(frame);
      const problem = await classifyFrame(frame);
      if (stream !== source) return;
      say(problem, Boolean(problem));
      if (problem) await retroscope.pause(PAUSE_MILLISECONDS);
    }
  };
  camera.addEventListener("click", async () => {
    if (stream) {
      const frame = await captureFrame();
      stopCamera();
      if (frame) openImage(frame);
      return;
    }
    if (otherInputs.request()) return say(`${otherInputs.request()} Then start the camera.`, true);
    let opened;
    try {
      opened = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
    } catch (error) {
      say(`Camera not available: ${error.message}`, true);
      return;
    }
    startSession();
    clearResults();
    stored = null;
    stream = opened;
    selectUnit(null, "Camera image.");
    say("Starting the camera …");
    camera.textContent = "Use this frame";
    for (const track of stream.getTracks()) {
      track.addEventListener("ended", () => {
        if (stream !== opened) return;
        stopCamera();
        say("The camera has stopped; press Camera to start it again.", true);
      });
    }
    video.srcObject = stream;
    await video.play();
    classifyFrames(opened);
  });
  if (!navigator.mediaDevices) camera.hidden = true;

  const openLinked = () => {
    const number = retroscope.options.read().get("image") ?? "";
    if (retroscope.model && /^\d{1,9}$/.test(number) && number !== stored) openStored(number);
  };
  addEventListener("hashchange", openLinked);
  // Chosen before this script loaded, or restored by the browser; else what a link names.
  if (byId("file").files.length) openFile(byId("file").files);
  else openLinked();
})();
