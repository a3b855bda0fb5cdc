// Requests to a server with a network: results as they arrive, and patience with a busy server.
"use strict";
(() => {
  const MAX_WAIT_MILLISECONDS = 8000;
  const pause = (milliseconds, signal) =>
    new Promise((resolve, reject) => {
      const timer = setTimeout(resolve, milliseconds);
      signal?.addEventListener("abort", () => {
        clearTimeout(timer);
        reject(signal.reason);
      });
    });
  class ServerError extends Error {
    // `isPassing`: the same request may succeed later.
    constructor(message, isPassing = false) {
      super(message);
      this.isPassing = isPassing;
    }
  }

  const readError = async (response) => {
    const text = await response.text();
    try {
      return JSON.parse(text).error;
    } catch {
      return text || `The server answered ${response.status}.`;
    }
  };
  const send = async (url, options) => {
    let response;
    try {
      response = await fetch(url, options);
    } catch (error) {
      if (options.signal?.aborted) throw error;
      throw new ServerError("The server does not answer", true);
    }
    if (response.ok) return response;
    if (response.status === 429) throw new ServerError("The server is busy", true);
    throw new ServerError(await readError(response));
  };
  async function* readLines(response) {
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
          if (facts.error) throw new ServerError(facts.error);
          yield facts;
        }
        if (done) return;
      }
    } finally {
      reader.cancel().catch(() => {}); // rejected if the request was aborted
    }
  }

  // Waits and tries again while the server is busy or away, and says so with `onWait(message)`.
  const sendPatiently = async (url, options, onWait) => {
    for (let wait = 500; ; wait = Math.min(2 * wait, MAX_WAIT_MILLISECONDS)) {
      try {
        const response = await send(url, options);
        onWait("");
        return response;
      } catch (error) {
        if (!error.isPassing) throw error;
        onWait(`${error.message}; trying again …`);
      }
      await pause(wait, options.signal);
    }
  };
  // The results of an analysis, one after another. Without `onWait` a busy server is an error.
  retroscope.requestAnalysis = async function* (params, { body = null, signal, onWait } = {}) {
    const url = `${document.body.dataset.analysis}?${new URLSearchParams(params)}`;
    const options = { method: "POST", body, signal };
    yield* readLines(onWait ? await sendPatiently(url, options, onWait) : await send(url, options));
  };
  retroscope.pause = pause;

  // A list of predicted classes, boxes or segments as buttons, for a list of the class `bars`.
  retroscope.predictionItems = (predictions, target = "") =>
    predictions.map(({ index, spec = index, target: label, probability }) => {
      const item = document.createElement("li");
      const button = document.createElement("button");
      const bar = document.createElement("progress");
      const figure = document.createElement("span");
      button.type = "button";
      button.className = "quiet";
      button.textContent = button.title = label;
      button.dataset.target = spec;
      button.setAttribute("aria-pressed", String(String(spec) === target));
      bar.max = 1;
      bar.value = probability;
      bar.setAttribute("aria-label", `Probability of ${label}`);
      figure.className = "figure";
      figure.textContent = retroscope.formatPercent(probability);
      item.append(button, figure, bar);
      return item;
    });
  // What came with an image, as the network received it: pictures, and numbers as text.
  retroscope.showInputs = (container, inputs) => {
    const figures = inputs.map(({ name, image, text }) => {
      const figure = document.createElement("figure");
      const caption = document.createElement("figcaption");
      caption.className = "note";
      caption.textContent = image ? name : `${name}: ${text}`;
      if (image) {
        const picture = document.createElement("img");
        picture.src = image;
        picture.alt = `${name}, as the network received it`;
        figure.append(picture);
      }
      figure.append(caption);
      return figure;
    });
    container.replaceChildren(...figures);
    container.hidden = !figures.length;
  };
  retroscope.formatPercent = (share) => {
    if (share === null) return "–";
    return share > 0 && share < 0.0001 ? "under 0.01 %" : `${Number((100 * share).toPrecision(2))} %`;
  };
})();
