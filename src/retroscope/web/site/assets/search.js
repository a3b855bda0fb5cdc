// The search box: units, layers, classes, images, dead channels and notes, from the names of the site.
"use strict";
(() => {
  const box = document.getElementById("search");
  const list = document.getElementById("search-results");
  const message = document.getElementById("search-empty");
  const MAX_ROWS = 14;
  let rows = [];
  let selected = 0;

  // -- the names, loaded when the box is first used
  let loading = null;
  const loadIndex = () => {
    loading ??= retroscope.loadScript(document.body.dataset.searchIndex).catch((error) => {
      loading = null; // the next letter tries again
      throw error;
    });
    return loading;
  };

  // -- what matches a text; every function returns rows of {title, note, href}
  const lowerNames = ({ name, aliases }) => [name, ...aliases].map((text) => text.toLowerCase());
  const hasWords = (text, words) => words.every((word) => text.includes(word));
  // Layers with this text in a name; those with exactly this name come first.
  const matchingLayers = (text) => {
    const lower = text.toLowerCase();
    const isExact = (layer) => Number(lowerNames(layer).includes(lower));
    return retroscope.names.layers
      .filter((layer) => lowerNames(layer).some((name) => name.includes(lower)))
      .sort((a, b) => isExact(b) - isExact(a));
  };
  const unitHref = (layer, channel) => retroscope.fillPath(layer.units, { channel });
  const unitRow = (layer, channel, note) => ({
    title: `${layer.name}:${channel}`,
    note: note ?? (layer.aliases.length ? `${layer.aliases[0]}:${channel}` : "unit"),
    href: unitHref(layer, channel),
  });
  // `conv3:12`, `conv3 12`, and a number alone: the channel of every layer that has it, deepest first.
  const unitRows = (text) => {
    const isNumber = /^:?\d+$/.test(text);
    const match = isNumber ? [, "", text.replace(":", "")] : /^(.*?)[:\s]\s*(\d+)?(?:@.*)?$/.exec(text);
    if (!match) return [];
    const channel = Number(match[2] ?? 0);
    const layers = matchingLayers(match[1]).filter((layer) => channel < layer.channels && (layer.listed?.includes(channel) ?? true));
    return (isNumber ? layers.reverse() : layers).map((layer) => unitRow(layer, channel));
  };
  const STATES = [
    { key: "dead", words: ["dead", "never fires"], title: (count) => `${count} dead channel${count === 1 ? "" : "s"}` },
    { key: "non_finite", words: ["non-finite", "nan", "inf"], title: (count) => `${count} with non-finite values` },
  ];
  // `dead`, `dead conv3`: the layers with such channels, and the channels if it is one layer.
  const stateRows = (words) =>
    STATES.flatMap(({ key, words: names, title }) => {
      const index = words.findIndex((word) => word.length > 2 && names.some((name) => name.startsWith(word)));
      if (index < 0) return [];
      const rest = words.filter((_, n) => n !== index).join(" ");
      const layers = matchingLayers(rest).filter((layer) => layer[key].length);
      const units = layers.length === 1 ? layers[0][key].map((channel) => unitRow(layers[0], channel, names[0])) : [];
      const options = key === "dead" ? "#sort=dead" : "";
      return [
        ...layers.map((layer) => ({
          title: layer.name,
          note: title(layer[key].length),
          href: retroscope.root + layer.href + options,
        })),
        ...units,
      ];
    });
  const toLayerRows = (layers) =>
    layers.map(({ name, aliases, channels, href }) => ({
      title: name,
      note: [...aliases, `${channels} channels`].join(", "),
      href: retroscope.root + href,
    }));
  const layerRows = (text) => toLayerRows(matchingLayers(text));
  const exactLayerRows = (text) =>
    toLayerRows(retroscope.names.layers.filter((layer) => lowerNames(layer).includes(text.toLowerCase())));
  // The units that are called so.
  const nameRows = (words) =>
    (retroscope.names.units ?? [])
      .filter(([, , name]) => hasWords(name.toLowerCase(), words))
      .map(([layer, channel, name]) => unitRow(retroscope.names.layers[layer], channel, name));
  const classRows = (words) =>
    retroscope.names.classes
      .filter(({ label }) => hasWords(label.toLowerCase(), words))
      .map(({ label, href }) => ({ title: label, note: "class", href: retroscope.root + href }));
  const imageRows = (words) =>
    retroscope.names.images
      .filter(([, source]) => hasWords(source.toLowerCase(), words))
      .map(([image, source]) => ({
        title: source,
        note: "image",
        href: retroscope.fillPath(retroscope.names.image, { image }),
      }));

  // Some of each kind, the nearest kinds first; a kind takes what the others leave.
  const findRows = (text) => {
    const words = text.toLowerCase().split(/\s+/);
    const kinds = [
      stateRows(words),
      exactLayerRows(text),
      unitRows(text),
      retroscope.noteRows?.(words) ?? [],
      layerRows(text),
      nameRows(words),
      classRows(words),
      imageRows(words),
    ];
    const share = Math.ceil(MAX_ROWS / Math.max(kinds.filter((kind) => kind.length).length, 1));
    const spare = MAX_ROWS - kinds.reduce((sum, kind) => sum + Math.min(kind.length, share), 0);
    const rows = kinds.flatMap((kind) => kind.slice(0, share + Math.max(spare, 0)));
    return rows.filter((row, n) => rows.findIndex((other) => other.href === row.href) === n).slice(0, MAX_ROWS);
  };
  const noResults = (text) => {
    const [, layerText] = /^(.*?)[:\s]\s*\d+/.exec(text) ?? [];
    const layer = layerText && matchingLayers(layerText)[0];
    const state = STATES.find(({ words }) => words.includes(text.toLowerCase()));
    if (state) return `No channel ${state.key === "dead" ? "is dead" : "has non-finite values"}`;
    return layer ? `${layer.name} has channels 0 to ${layer.channels - 1}` : `No results for ${text}`;
  };

  // -- the list
  const select = (index) => {
    selected = index;
    [...list.children].forEach((item, n) => item.setAttribute("aria-selected", String(n === index)));
    const item = list.children[index];
    if (item) {
      box.setAttribute("aria-activedescendant", item.id);
      item.scrollIntoView({ block: "nearest" });
    } else box.removeAttribute("aria-activedescendant");
  };
  const showResults = (results, text = "") => {
    rows = results;
    list.replaceChildren(
      ...results.map(({ title, note }, n) => {
        const item = document.createElement("li");
        item.id = `search-result-${n}`;
        item.setAttribute("role", "option");
        const name = document.createElement("b");
        const description = document.createElement("span");
        name.textContent = title;
        description.textContent = note;
        item.append(name, description);
        return item;
      }),
    );
    message.textContent = text;
    message.hidden = !text;
    list.hidden = results.length === 0;
    box.setAttribute("aria-expanded", String(results.length > 0));
    select(0);
  };
  const search = async () => {
    const text = box.value.trim();
    if (!text) return showResults([]);
    if (!retroscope.names) showResults([], "Loading the names …");
    try {
      await loadIndex();
    } catch {
      return showResults([], "The names could not be loaded; type again to retry.");
    }
    if (box.value.trim() !== text) return undefined; // a later letter shows its own results
    const results = findRows(text);
    return showResults(results, results.length ? "" : noResults(text));
  };
  const open = (row) => {
    location.href = row.href;
  };
  box.addEventListener("input", search);
  box.addEventListener("focus", () => {
    loadIndex().catch(() => {}); // said when something is typed
    if (box.value) search();
  });
  box.addEventListener("blur", () => setTimeout(() => showResults([]), 150));
  box.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && rows.length) {
      event.preventDefault();
      select((selected + moves[event.key] + rows.length) % rows.length);
    } else if (event.key === "Escape") {
      showResults([]);
      box.blur();
    }
  });
  list.addEventListener("mousedown", (event) => event.preventDefault());
  list.addEventListener("click", (event) => {
    const item = event.target.closest("li");
    if (item) open(rows[[...list.children].indexOf(item)]);
  });
  box.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    await search();
    if (rows[selected]) open(rows[selected]);
    else retroscope.announce(message.textContent);
  });
})();
