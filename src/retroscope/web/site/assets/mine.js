// An image of the reader's own: sent to the local server with each question, and shown as answers come.
"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const state = byId("state");
  const shown = byId("shown");
  let picture = null; // what is asked about, as bytes
  let plain = null; // the picture as the network takes it
  let size = [1, 1];
  let target = "";
  let look = 0; // answers to an earlier picture are dropped

  const number = (value) => (value === null ? "–" : String(Number(value.toPrecision(4))).replace("-", "−"));
  const percent = (share) => {
    if (share === null) return "–";
    return share > 0 && share < 0.0001 ? "under 0.01 %" : `${Number((100 * share).toPrecision(2))} %`;
  };

  // -- asking
  async function* ask(question, params = {}) {
    const query = new URLSearchParams({ ask: question, ...params });
    const response = await fetch(`${retroscope.root}look?${query}`, { method: "POST", body: picture });
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
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
  }
  const asking = async (question, params, take) => {
    const own = look;
    state.textContent = "looking …";
    try {
      for await (const facts of ask(question, params)) {
        if (own !== look) return;
        take(facts);
      }
      state.textContent = "";
    } catch (error) {
      if (own === look) state.textContent = error.message;
    }
  };

  // -- a new picture
  const give = async (blob) => {
    look += 1;
    picture = blob;
    target = "";
    byId("unusual").replaceChildren();
    byId("predictions").replaceChildren();
    byId("unit").hidden = true;
    await asking("first", {}, take);
  };
  const take = (facts) => {
    if (facts.picture) {
      plain = facts.picture;
      size = facts.size;
      byId("mine").hidden = false;
      showPlain();
    }
    if (facts.predictions) showPredictions(facts.predictions);
    if (facts.layer) showLayer(facts);
  };
  const showPlain = () => showPicture({ source: plain, title: "Your picture, as the network takes it.", what: "picture" });
  const showPicture = ({ source, title, what, notes = [], box = null }) => {
    shown.src = source;
    byId("notes").textContent = notes.join(" ");
    settle(box, title);
    for (const button of document.querySelectorAll("[data-show]")) {
      button.setAttribute("aria-pressed", String(button.dataset.show === what));
    }
  };
  const showPredictions = (found) => {
    byId("predictions").replaceChildren(
      ...found.map(({ index, label, probability }) => {
        const item = document.createElement("li");
        const button = document.createElement("button");
        const bar = document.createElement("progress");
        const figure = document.createElement("span");
        button.type = "button";
        button.className = "quiet";
        button.textContent = label;
        button.dataset.target = index;
        button.setAttribute("aria-pressed", String(String(index) === target));
        bar.max = 1;
        bar.value = probability;
        bar.setAttribute("aria-label", `probability of ${label}`);
        figure.className = "figure";
        figure.textContent = percent(probability);
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
        const frameOf = document.createElement("span");
        const plate = document.createElement("img");
        const said = document.createElement("span");
        const name = document.createElement("b");
        const fact = document.createElement("span");
        item.className = "plate";
        button.type = "button";
        button.className = "bare";
        frameOf.className = "picture";
        plate.src = retroscope.root + unit.plate;
        plate.width = plate.height = 160;
        plate.alt = `Patches of ${unit.unit} in the atlas`;
        plate.classList.toggle("pixels", unit.box[3] - unit.box[1] < 40);
        said.className = "said";
        name.textContent = unit.channel;
        fact.textContent =
          unit.rarity === 0 ? "none" : unit.rarity === null ? number(unit.activation) : percent(unit.rarity);
        frameOf.append(plate);
        said.append(name, fact);
        button.append(frameOf, said);
        button.addEventListener("click", () => lookAt(unit.unit));
        // Only a pointer that moves: a page that moves under it points at nothing.
        button.addEventListener("pointermove", ({ movementX, movementY }) => {
          if (movementX || movementY) point(unit.box, `${unit.unit} sees what is framed.`);
        });
        button.addEventListener("pointerleave", () => point(...settled));
        item.append(button);
        return item;
      }),
    );
    section.append(title, list);
    byId("unusual").append(section);
  };

  // -- a unit in the picture: pointed at for the moment, or chosen
  let settled = [null, ""];
  const settle = (box, text) => {
    settled = [box, text];
    point(box, text);
  };
  const point = (box, text) => {
    frame(box);
    byId("caption").textContent = text;
  };
  const frame = (box) => {
    const over = byId("over");
    over.toggleAttribute("hidden", !box);
    if (!box) return;
    over.setAttribute("viewBox", `0 0 ${size[1]} ${size[0]}`);
    const [top, left, bottom, right] = box;
    for (const shape of over.querySelectorAll("rect")) {
      for (const [name, value] of Object.entries({ x: left, y: top, width: right - left, height: bottom - top })) {
        shape.setAttribute(name, value);
      }
    }
  };
  const lookAt = (unit) =>
    asking("unit", { unit }, (facts) => {
      const [channel] = facts.unit.split("@");
      byId("unit").hidden = false;
      byId("unit-name").textContent = facts.unit;
      byId("unit-name").href = retroscope.root + facts.href;
      byId("unit-fact").textContent = `activation ${number(facts.activation)}`;
      byId("map").src = facts.map;
      byId("map").dataset.unit = channel;
      byId("map").dataset.cells = facts.cells;
      for (const name of ["patch", "projection"]) {
        byId(name).src = facts[name];
        byId(name).classList.toggle("pixels", facts.box[3] - facts.box[1] < 64);
      }
      const title = `${facts.unit} sees what is framed.`;
      showPicture({ source: plain, title, what: "picture", notes: facts.notes, box: facts.box });
      byId("unit").scrollIntoView({ block: "nearest", behavior: "auto" });
    });
  byId("map").addEventListener("click", (event) => {
    const map = byId("map");
    const [height, width] = map.dataset.cells.split(",").map(Number);
    const inside = map.getBoundingClientRect();
    const y = Math.min(Math.max(Math.floor(((event.clientY - inside.top) / inside.height) * height), 0), height - 1);
    const x = Math.min(Math.max(Math.floor(((event.clientX - inside.left) / inside.width) * width), 0), width - 1);
    lookAt(`${map.dataset.unit}@${y},${x}`);
  });
  byId("map").addEventListener("keydown", (event) => {
    const [, y, x] = /@(\d+),(\d+)$/.exec(byId("unit-name").textContent).map(Number);
    const [height, width] = byId("map").dataset.cells.split(",").map(Number);
    const steps = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
    const step = steps[event.key];
    if (!step) return;
    event.preventDefault();
    const place = [Math.min(Math.max(y + step[0], 0), height - 1), Math.min(Math.max(x + step[1], 0), width - 1)];
    lookAt(`${byId("map").dataset.unit}@${place}`);
  });

  // -- maps of a class
  const showMap = (question) =>
    asking(question, target === "" ? {} : { target }, ({ picture: source, title, notes }) =>
      showPicture({ source, title, what: question, notes }),
    );
  byId("predictions").addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    target = button.dataset.target;
    for (const each of byId("predictions").querySelectorAll("button")) {
      each.setAttribute("aria-pressed", String(each === button));
    }
    showMap("cam");
  });
  byId("mine").addEventListener("click", (event) => {
    const what = event.target.closest("[data-show]")?.dataset.show;
    if (what === "picture") showPlain();
    else if (what) showMap(what);
  });

  // -- drop, paste, pick, camera
  const giveFile = (files) => {
    const file = [...(files ?? [])].find((one) => one.type.startsWith("image/"));
    if (!file) return;
    stopCamera();
    give(file);
  };
  byId("file").addEventListener("change", (event) => giveFile(event.target.files));
  addEventListener("paste", (event) => giveFile(event.clipboardData.files));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    giveFile(event.dataTransfer.files);
  });
  const camera = byId("camera");
  const video = byId("video");
  let stream = null;
  const stopCamera = () => {
    stream?.getTracks().forEach((track) => track.stop());
    stream = null;
    camera.textContent = "Camera";
  };
  const snap = () => {
    const canvas = document.createElement("canvas");
    const scale = Math.min(1, 640 / Math.max(video.videoWidth, video.videoHeight));
    canvas.width = Math.round(video.videoWidth * scale);
    canvas.height = Math.round(video.videoHeight * scale);
    canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
    return new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", 0.85));
  };
  // A new picture is sent only when the last one is answered: the machine sets the rate.
  const follow = async (own) => {
    while (stream === own) {
      picture = await snap();
      if (stream !== own) return;
      const url = URL.createObjectURL(picture);
      byId("mine").hidden = false;
      shown.src = url;
      await asking("live", {}, take);
      URL.revokeObjectURL(url);
    }
  };
  camera.addEventListener("click", async () => {
    if (stream) {
      const last = await snap();
      stopCamera();
      give(last);
      return;
    }
    try {
      stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640 }, audio: false });
    } catch (error) {
      state.textContent = `no camera: ${error.message}`;
      return;
    }
    look += 1;
    byId("unusual").replaceChildren();
    byId("unit").hidden = true;
    settle(null, "What the camera sees.");
    camera.textContent = "Stop and look";
    video.srcObject = stream;
    await video.play();
    follow(stream);
  });
  if (!navigator.mediaDevices) camera.hidden = true;
  giveFile(byId("file").files); // picked before this script came, or kept by the browser on the way back
})();
