// Draws the plate of a unit as it is on show, and saves it as a PNG file.
"use strict";
(() => {
  const TILE = 240;
  const GAP = 8;
  const MARGIN = 48;
  const CAPTION = 36;
  const HEAD = 150;
  const FIGURE = 3 * TILE + 2 * GAP;
  const COLOURS = { paper: "#ffffff", ink: "#1c2027", muted: "#5c626d", tile: "#f1efea", halo: "#ffffff", ring: "#e21418" };
  const family = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

  const loadImage = async (src) => {
    const image = new Image();
    image.src = src;
    await image.decode();
    return image;
  };
  const write = (pen, text, [x, y], { font, colour, width = Infinity }) => {
    pen.font = font;
    pen.fillStyle = colour;
    let shown = text;
    while (shown && pen.measureText(shown).width > width) shown = `${shown.slice(0, -2).trimEnd()}…`;
    pen.fillText(shown, x, y);
  };
  const applyTone = (pen, [x, y, width, height]) => {
    const data = pen.getImageData(x, y, width, height);
    for (let n = 0; n < data.data.length; n++) {
      if (n % 4 < 3) data.data[n] = retroscope.tones.squareTone(data.data[n]);
    }
    pen.putImageData(data, x, y);
  };
  const numbers = (svg) => ["x", "y", "width", "height"].map((name) => svg[name].baseVal.value);

  // A tile of the page: an image behind a window, in the middle of a square cell.
  const drawTile = async (pen, crop, [left, top], tone) => {
    pen.fillStyle = COLOURS.tile;
    pen.fillRect(left, top, TILE, TILE);
    const inner = crop.querySelector("svg");
    if (!inner) return;
    const scale = TILE / crop.viewBox.baseVal.width;
    const [x, y, width, height] = numbers(inner).map((value) => Math.round(value * scale));
    const picture = inner.querySelector("image");
    if (picture.dataset.packed) await retroscope.loadPacked(picture);
    const image = await loadImage(picture.href.baseVal);
    const window = inner.viewBox.baseVal;
    const across = image.naturalWidth / picture.width.baseVal.value;
    const down = image.naturalHeight / picture.height.baseVal.value;
    pen.imageSmoothingEnabled = !crop.classList.contains("pixels");
    pen.imageSmoothingQuality = "high";
    const [sheetX, sheetY] = [window.x - picture.x.baseVal.value, window.y - picture.y.baseVal.value];
    pen.drawImage(image, sheetX * across, sheetY * down, window.width * across, window.height * down, left + x, top + y, width, height);
    if (tone === "tile") applyTone(pen, [left + x, top + y, width, height]);
    for (const circle of inner.querySelectorAll("circle")) drawCircle(pen, circle, [left + x - window.x * scale, top + y - window.y * scale, scale]);
  };
  const drawCircle = (pen, circle, [left, top, scale]) => {
    const isRing = circle.classList.contains("ring");
    pen.strokeStyle = isRing ? COLOURS.ring : COLOURS.halo;
    pen.lineWidth = isRing ? 4 : 8;
    pen.beginPath();
    pen.arc(left + circle.cx.baseVal.value * scale, top + circle.cy.baseVal.value * scale, circle.r.baseVal.value * scale, 0, 2 * Math.PI);
    pen.stroke();
  };
  const drawCaption = (pen, hit, [x, y]) => {
    const bold = `600 22px ${family("--text")}`;
    const score = String(Number(hit.score.toPrecision(4))).replace("-", "−");
    write(pen, score, [x, y], { font: bold, colour: COLOURS.ink });
    const width = pen.measureText(`${score}  `).width;
    write(pen, hit.class ?? "", [x + width, y], { font: `22px ${family("--text")}`, colour: COLOURS.muted, width: TILE - width });
  };
  const drawFigure = async (pen, figure, left, { hits, hasCaptions, tone }) => {
    const caption = figure.querySelector("figcaption").textContent.trim().replace(/\s+/g, " ");
    write(pen, caption, [left, HEAD - 16], { font: `600 24px ${family("--text")}`, colour: COLOURS.ink });
    for (const tile of figure.querySelectorAll(".tile")) {
      const number = Number(tile.dataset.hit);
      const x = left + (number % 3) * (TILE + GAP);
      const y = HEAD + Math.floor(number / 3) * (TILE + CAPTION + GAP);
      await drawTile(pen, tile.querySelector(".crop"), [x, y], figure.dataset.gamma ? tone : "robust");
      if (hasCaptions) drawCaption(pen, hits[number], [x, y + TILE + 26]);
    }
  };
  const save = (canvas, name) =>
    canvas.toBlob((blob) => {
      const link = document.createElement("a");
      link.href = URL.createObjectURL(blob);
      link.download = name;
      link.click();
      setTimeout(() => URL.revokeObjectURL(link.href), 1000);
    });

  // Saves the figures on show of one ranking.
  retroscope.savePlate = async (ranking, { by, tone }) => {
    const unit = document.body.dataset.unit;
    const figures = [...ranking.querySelectorAll(".nine")].filter((figure) => figure.getClientRects().length || getComputedStyle(figure).display === "contents");
    const hits = JSON.parse(ranking.querySelector("script").textContent);
    const canvas = document.createElement("canvas");
    canvas.width = 2 * MARGIN + figures.length * FIGURE + (figures.length - 1) * MARGIN;
    canvas.height = HEAD + 3 * (TILE + CAPTION + GAP) + MARGIN;
    const pen = canvas.getContext("2d");
    pen.fillStyle = COLOURS.paper;
    pen.fillRect(0, 0, canvas.width, canvas.height);
    const { atlas } = document.getElementById("save-plate").dataset;
    write(pen, unit, [MARGIN, 62], { font: `40px ${family("--mono")}`, colour: COLOURS.ink });
    write(pen, `${atlas}, hits ranked by ${by}`, [MARGIN, 96], { font: `22px ${family("--text")}`, colour: COLOURS.muted });
    for (const [number, figure] of figures.entries()) {
      await drawFigure(pen, figure, MARGIN + number * (FIGURE + MARGIN), { hits, hasCaptions: number === 0, tone });
    }
    save(canvas, `${unit.replace(/[^\w.-]+/g, "_")}.png`);
  };
})();
