// What every page can do: keys, search, help, theme, copying. Classic scripts, since a page in a
// folder (file:) may not load modules.
"use strict";
(() => {
  const root = document.body.dataset.root;
  const byId = (id) => document.getElementById(id);
  const say = (text) => {
    byId("said").textContent = text;
  };
  retroscope.say = say;
  retroscope.root = root;

  // -- choices of a page, kept in the fragment, so that a link has them and the back button works
  const readChoices = () => new URLSearchParams(location.hash.slice(1));
  retroscope.choices = {
    read: readChoices,
    write(values, defaults) {
      const kept = Object.entries(values).filter(([key, value]) => value !== defaults[key]);
      const text = new URLSearchParams(kept).toString();
      if (text === readChoices().toString()) return;
      history.replaceState(null, "", text ? `#${text}` : location.pathname + location.search);
    },
  };

  // -- what needs the network beside the atlas
  for (const part of document.querySelectorAll("[data-with-model]")) part.hidden = !retroscope.model;
  for (const part of document.querySelectorAll("[data-without-model]")) part.hidden = Boolean(retroscope.model);

  // -- search
  const box = byId("search");
  const list = byId("found");
  const none = byId("none");
  let rows = [];
  let chosen = 0;

  const loadScript = (path) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = root + path;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`cannot load ${path}`));
      document.head.append(script);
    });
  retroscope.load = loadScript;
  let loading = null;
  const namesLoaded = () => (loading ??= loadScript("names.js"));

  const unitRows = (text) => {
    const match = /^(.*?)[:\s]\s*(\d+)?(?:@.*)?$/.exec(text);
    if (!match) return [];
    const [, layerText, channelText] = match;
    const channel = Number(channelText ?? 0);
    return retroscope.names.layers
      .filter(([name, aliases, channels]) => channel < channels && matches(layerText, name, aliases))
      .sort((one, other) => rank(layerText, one) - rank(layerText, other))
      .map(([name, aliases, , , units]) => ({
        title: `${name}:${channel}`,
        note: aliases.length ? `${aliases[0]}:${channel}` : "unit",
        href: `${units}${channel}.html`,
      }));
  };
  const matches = (text, name, aliases) =>
    [name, ...aliases].some((one) => one.toLowerCase().includes(text.toLowerCase()));
  const rank = (text, [name, aliases]) =>
    [name, ...aliases].some((one) => one.toLowerCase() === text.toLowerCase()) ? 0 : 1;
  const layerRows = (text) =>
    retroscope.names.layers
      .filter(([name, aliases]) => matches(text, name, aliases))
      .sort((one, other) => rank(text, one) - rank(text, other))
      .map(([name, aliases, channels, href]) => ({
        title: name,
        note: [...aliases, `${channels} channels`].join(", "),
        href,
      }));
  const classRows = (text) =>
    retroscope.names.classes
      .filter(([name]) => name.toLowerCase().includes(text.toLowerCase()))
      .map(([name, href]) => ({ title: name, note: "class", href }));

  const missing = (text) => {
    const [, layerText] = /^(.*?)[:\s]\s*\d+/.exec(text) ?? [];
    const layer = layerText && retroscope.names.layers.filter(([name, aliases]) => matches(layerText, name, aliases))[0];
    return layer ? `${layer[0]} has the channels 0 to ${layer[2] - 1}` : `nothing is called ${text}`;
  };
  const find = (text) =>
    text ? [...unitRows(text), ...layerRows(text), ...classRows(text)].slice(0, 12) : [];

  const choose = (index) => {
    chosen = index;
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === index)));
    const item = list.children[index];
    if (item) {
      box.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    } else box.removeAttribute("aria-activedescendant");
  };
  const show = (found, otherwise = "") => {
    rows = found;
    list.replaceChildren(
      ...found.map(({ title, note }, n) => {
        const item = document.createElement("li");
        item.id = `found-${n}`;
        item.setAttribute("role", "option");
        const name = document.createElement("b");
        const what = document.createElement("span");
        name.textContent = title;
        what.textContent = note;
        item.append(name, what);
        return item;
      }),
    );
    none.textContent = otherwise;
    none.hidden = !otherwise;
    list.hidden = found.length === 0;
    box.setAttribute("aria-expanded", String(found.length > 0));
    choose(0);
  };
  const search = async () => {
    await namesLoaded();
    const text = box.value.trim();
    const found = find(text);
    show(found, text && !found.length ? missing(text) : "");
  };
  const go = (row) => {
    location.href = root + row.href;
  };
  box.addEventListener("input", search);
  box.addEventListener("focus", namesLoaded);
  box.addEventListener("blur", () => setTimeout(() => show([]), 150));
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && rows.length) {
      event.preventDefault();
      choose((chosen + moves[event.key] + rows.length) % rows.length);
    } else if (event.key === "Escape") {
      show([]);
      box.blur();
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) go(rows[[...list.children].indexOf(item)]);
  });
  box.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await search();
    if (rows[chosen]) go(rows[chosen]);
    else say(none.textContent);
  });

  // -- buttons
  const copy = async (button) => {
    const text = button.dataset.copy;
    if (navigator.clipboard) await navigator.clipboard.writeText(text);
    else {
      const area = document.createElement("textarea");
      area.value = text;
      document.body.append(area);
      area.select();
      document.execCommand("copy");
      area.remove();
    }
    button.textContent = "copied";
    say(`copied ${text}`);
    setTimeout(() => (button.textContent = "copy"), 1500);
  };
  const help = byId("help");
  const acts = {
    theme: () => say(`${retroscope.turnTheme()} colours`),
    help: () => (help.open ? help.close() : help.showModal()),
  };
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (button?.dataset.copy) copy(button);
    else if (button?.dataset.act) acts[button.dataset.act]();
    else if (event.target === help) help.close();
  });

  // -- keys
  const follow = (relation) => {
    const link = document.head.querySelector(`link[rel=${relation}]`);
    if (link) location.href = link.href + (relation === "up" ? "" : location.hash);
  };
  const pick = (name, value) => {
    const input = document.querySelector(`#tools input[name=${name}][value=${value}]`);
    if (input && !input.checked) input.click();
  };
  const pickOther = (name) =>
    document.querySelector(`#tools input[name=${name}]:not(:checked)`)?.click();
  retroscope.keys = {
    "/": () => box.focus(),
    "?": acts.help,
    t: acts.theme,
    p: () => pick("show", "patches"),
    d: () => pick("show", "projections"),
    b: () => pick("show", "both"),
    s: () => pick("show", "patterns"),
    m: () => pickOther("by"),
    u: () => follow("up"),
    ArrowLeft: () => follow("prev"),
    ArrowRight: () => follow("next"),
  };
  const isTyping = (target) => target.closest("input:not([type=radio]), select, textarea, [tabindex='0']");
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || help.open) return;
    if (isTyping(event.target) || (event.target.type === "radio" && event.key.startsWith("Arrow"))) return;
    const act = retroscope.keys[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
})();
