// The other inputs of a network that takes several: fields that ask for them, beside the reader's own image.
"use strict";
(() => {
  const form = document.getElementById("other-inputs");
  const { image = "", others = [], held = [] } = retroscope.model?.inputs ?? {};
  const images = others.filter(({ kind }) => kind === "image");
  const files = new Map(); // of other images, by name
  const fields = new Map(); // the zone of each other input, by name

  const make = (tag, className = "", text = "") => {
    const element = document.createElement(tag);
    element.className = className;
    element.textContent = text;
    return element;
  };
  const isImage = (file) => file.type.startsWith("image/") || /\.(npy|tiff?)$/i.test(file.name);
  const numbersOf = (name) => fields.get(name).querySelector("input").value.trim();
  const isGiven = ({ name, kind }) => (kind === "image" ? files.has(name) : numbersOf(name) !== "");

  // -- the fields
  const makeZone = (tag, { name, description = "" }) => {
    const zone = make(tag, "drop-zone other-input");
    const words = make("span", "input-words");
    words.append(make("b", "", name), make("span", "note", description));
    zone.append(words);
    return zone;
  };
  const makeField = (input) => {
    const zone = makeZone("label", input);
    const field = make("input");
    zone.dataset.input = input.name;
    if (input.kind === "image") {
      field.type = "file";
      field.accept = document.getElementById("file").accept;
      field.addEventListener("change", () => take([...field.files], input.name));
    } else {
      field.type = "text";
      field.inputMode = "decimal";
      field.autocomplete = "off";
      field.placeholder = `such as ${input.example}`;
      field.addEventListener("change", () => retroscope.otherInputs.onChange(""));
      field.addEventListener("keydown", (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault(); // the form is not sent
        field.blur(); // which is a change
      });
    }
    zone.append(field);
    fields.set(input.name, zone);
    return zone;
  };
  const makeHeld = (input) => {
    const zone = makeZone("div", { name: input.name, description: "held for all images" });
    zone.classList.add("is-held");
    const value = input.image ? make("img", "preview") : make("span", "value", input.text);
    if (input.image) {
      value.src = input.image;
      value.alt = `${input.name}, as the network receives it`;
    }
    zone.append(value);
    return zone;
  };
  const showPreview = (name, file) => {
    const zone = fields.get(name);
    zone.querySelector(".preview")?.remove();
    const preview = make("img", "preview");
    preview.alt = "";
    preview.src = URL.createObjectURL(file);
    preview.addEventListener("load", () => URL.revokeObjectURL(preview.src));
    preview.addEventListener("error", () => preview.remove()); // a format that browsers do not show
    zone.prepend(preview);
    const chosen = new DataTransfer(); // the field shows the name of a file that was dropped
    chosen.items.add(file);
    zone.querySelector("input").files = chosen.files;
  };

  // Takes files for one input, or for those images that are missing, in order. Whether it took any.
  const take = (given, name = "") => {
    const missing = images.filter((input) => !isGiven(input)).map((input) => input.name);
    const names = name ? [name] : missing;
    const pairs = given.slice(0, names.length).map((file, number) => [names[number], file]);
    if (!pairs.length) return false;
    const refused = pairs.find(([, file]) => !isImage(file));
    if (refused) {
      const [input, file] = refused;
      const problem = fields.has(input) && fields.get(input).querySelector("input").type === "file"
        ? `${input}: ${file.name} is not an image; choose a JPEG, PNG, WebP, GIF, BMP, TIFF or NPY file.`
        : `${input} is numbers; type them.`;
      retroscope.otherInputs.onChange(problem);
      return true;
    }
    for (const [input, file] of pairs) {
      files.set(input, file);
      showPreview(input, file);
    }
    retroscope.otherInputs.onChange("");
    return true;
  };

  // -- what the page of an image of one's own asks for
  const listWords = (words) =>
    words.length > 1 ? `${words.slice(0, -1).join(", ")} and ${words.at(-1)}` : words.join("");
  retroscope.otherInputs = {
    isImage,
    take,
    areAsked: others.length > 0,
    // Called when an input is given, or with a problem.
    onChange: () => {},
    // What is missing, as a sentence; empty if nothing is.
    request: () => {
      const missing = others.filter((input) => !isGiven(input));
      const words = missing.map(({ name, description }) => `${name} (${description})`);
      return missing.length ? `Now add ${listWords(words)}.` : "";
    },
    // The body of a request: an image, with the other inputs if the network takes any. Files keep their names.
    addTo: (upload) => {
      const body = new FormData();
      body.append(image || "image", upload, upload.name || "camera.jpg");
      for (const { name, kind } of others) body.append(name, kind === "image" ? files.get(name) : numbersOf(name));
      return body;
    },
  };

  form.append(...others.map(makeField), ...held.map(makeHeld));
  form.hidden = !form.children.length;
  if (form.hidden) return;
  const name = document.getElementById("image-name");
  name.textContent = `${image}: `;
  name.hidden = false;
})();
