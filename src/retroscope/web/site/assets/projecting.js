// Makes missing projections with the network behind the viewer, and shows them in place.
"use strict";
(() => {
  const POLL = 800;
  const LONGEST_ESTIMATE = 3600;
  let version = 0;
  // The paths that stop the work of forms.
  const stopPaths = new Map();

  const post = (path, body) => fetch(path, { method: "POST", body, headers: { accept: "application/json" } });
  const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));
  const part = (form, name) => form.querySelector(`.offer-${name}`);
  const formatSeconds = (seconds) => {
    if (seconds < 60) return `${Math.max(Math.round(seconds), 1)} s`;
    return seconds < LONGEST_ESTIMATE ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`;
  };
  // The unit and the rankings of a form, and how many hits.
  const request = (form, hits) => {
    const fields = new URLSearchParams(new FormData(form));
    fields.set("hits", hits);
    return fields;
  };

  // -- how long each choice takes, measured while nobody waits for it
  const estimate = async (form) => {
    for (const choice of form.querySelectorAll("[data-hits]")) {
      const response = await post(form.dataset.estimate, request(form, choice.dataset.hits));
      if (!response.ok) return;
      const { seconds } = await response.json();
      if (seconds !== null) choice.querySelector(".offer-seconds").textContent = `, about ${formatSeconds(seconds)}`;
    }
  };
  // One after the other: the server measures one layer at a time.
  const estimateAll = async (forms) => {
    for (const form of forms) await estimate(form);
  };

  // -- one job: its progress until it ends, and what became of it
  const describe = ({ state, completed, total, seconds_left: left }) => {
    if (state === "waiting") return "waits for other work of the network";
    if (!total) return "reads the images";
    const time = completed && left !== null ? `, ${formatSeconds(left)} left` : "";
    return `${completed} of ${total}${time}`;
  };
  const showProgress = (form, job) => {
    const bar = form.querySelector("progress");
    if (job.total) Object.assign(bar, { max: job.total, value: job.completed });
    part(form, "progress").textContent = describe(job);
  };
  const follow = async (form, job) => {
    let state = job;
    while (state.active) {
      showProgress(form, state);
      await pause(POLL);
      const response = await fetch(retroscope.root + state.json);
      if (!response.ok) throw new Error("The server no longer knows this job; try again.");
      state = await response.json();
    }
    return state;
  };
  const showResult = (form, { message, needs_images: needsImages }) => {
    const result = part(form, "result");
    result.textContent = message;
    if (needsImages) {
      const code = document.createElement("code");
      code.textContent = form.dataset.serve;
      result.append(" ", code);
    }
    result.hidden = false;
    return result;
  };

  // -- the page as it is now, without loading it again
  const renew = async () => {
    version += 1;
    const suffix = `v=${version}`;
    const response = await fetch(location.pathname + location.search);
    const page = new DOMParser().parseFromString(await response.text(), "text/html");
    await retroscope.renewPage(page, (path) => (/\/(plate|layer)\//.test(`/${path}`) ? path + (path.includes("?") ? "&" : "?") + suffix : path));
    return page;
  };
  // Hits of one ranking may be those of another, so all forms change.
  const renewChoices = (page) => {
    const forms = [...document.querySelectorAll(".offer")];
    for (const form of forms) {
      const newForm = page.querySelector(`.offer[data-offer="${form.dataset.offer}"]`);
      part(form, "choices").innerHTML = newForm ? part(newForm, "choices").innerHTML : "";
    }
    estimateAll(forms);
  };
  const setWorking = (form, working) => {
    part(form, "choices").hidden = working;
    part(form, "work").hidden = !working;
    const bar = form.querySelector("progress");
    bar.removeAttribute("value");
    part(form, "progress").textContent = "";
    part(form, "result").hidden = true;
    part(form, "stop").disabled = false;
  };
  const finish = async (form, job) => {
    const page = await renew();
    const hadFocus = form.contains(document.activeElement);
    setWorking(form, false);
    renewChoices(page);
    const result = showResult(form, job);
    retroscope.announce(result.textContent);
    if (hadFocus || document.activeElement === document.body) result.focus({ preventScroll: true });
  };

  const run = async (form, hits) => {
    setWorking(form, true);
    part(form, "stop").focus({ preventScroll: true });
    try {
      const response = await post(form.action, request(form, hits));
      const job = await response.json();
      if (!response.ok) throw new Error(job.error);
      stopPaths.set(form, retroscope.root + job.stop);
      retroscope.announce(`Projecting ${job.unit}`);
      await finish(form, await follow(form, job));
    } catch (error) {
      setWorking(form, false);
      const message = error instanceof TypeError ? "The server does not answer; start it again." : error.message;
      retroscope.announce(showResult(form, { message }).textContent);
    } finally {
      stopPaths.delete(form);
    }
  };
  const stop = (form) => stopPaths.has(form) && navigator.sendBeacon(stopPaths.get(form));

  const forms = [...document.querySelectorAll(".offer")];
  for (const form of forms) {
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      run(form, event.submitter.value);
    });
    part(form, "stop").addEventListener("click", (event) => {
      event.target.disabled = true;
      part(form, "progress").textContent = "stopping after the current batch";
      stop(form);
    });
  }
  estimateAll(forms);
  // Whoever leaves a page no longer waits for its projections; what is made stays.
  addEventListener("pagehide", () => [...stopPaths.keys()].forEach(stop));
})();
