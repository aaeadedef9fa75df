// Draws what was found over a picture or video: boxes and names, on a canvas that lies on top of it.

import { colourOf, dealColours, inkOn, nameOf, percent } from "./expressions.js";

const UNDERLAY = "rgba(10, 14, 22, 0.55)"; // keeps a box visible on any picture

/**
 * Draw a frame's faces.
 *
 * `frame` is a result (its boxes are in pixels of its width and height), `chosen` the index of the
 * face whose figures are shown beside, `mirror` whether the picture below is mirrored.
 */
export function drawFaces(canvas, frame, { chosen = -1, mirror = false } = {}) {
  const scale = window.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (canvas.width !== Math.round(width * scale)) canvas.width = Math.round(width * scale);
  if (canvas.height !== Math.round(height * scale)) canvas.height = Math.round(height * scale);
  const pen = canvas.getContext("2d");
  pen.setTransform(scale, 0, 0, scale, 0, 0);
  pen.clearRect(0, 0, width, height);
  if (!frame) return;
  if (frame.faces.length) dealColours(Object.keys(frame.faces[0].probs));
  const boxes = frame.faces.map((face) => place(face, frame, width, height, mirror));
  // The chosen one lies above the others, and is the first to have a place for its name.
  const order = [...boxes.keys()].sort((a, b) => (b === chosen) - (a === chosen));
  const several = boxes.length > 1;
  for (const i of order.toReversed()) drawBox(pen, boxes[i], frame.faces[i], several && i === chosen);
  const taken = [...boxes];
  for (const i of order) {
    const face = frame.faces[i];
    const words = `${face.expression}${face.uncertain ? "?" : ""} ${percent(face.confidence)}`;
    const name = nameOf(face, i);
    const said = several ? [`${name} · ${words}`, name.replace(/\D+/, "")] : [words];
    drawName(pen, boxes[i], face, said, { width, height, taken, always: i === chosen });
  }
}

/** A face's box in pixels of the canvas. */
function place(face, frame, width, height, mirror) {
  const [x, y, w, h] = face.box;
  const [across, down] = [width / frame.width, height / frame.height];
  const left = mirror ? frame.width - x - w : x;
  return { x: left * across, y: y * down, w: w * across, h: h * down };
}

/** A box; `chosen` has one among several stand out. */
function drawBox(pen, { x, y, w, h }, face, chosen) {
  const round = Math.min(12, w / 6, h / 6);
  pen.setLineDash(face.uncertain ? [6, 6] : []);
  const lines = chosen ? [[UNDERLAY, 9], ["#fff", 7], [UNDERLAY, 4]] : [[UNDERLAY, 5]];
  for (const [style, line] of [...lines, [colourOf(face.expression), 3]]) {
    pen.strokeStyle = style;
    pen.lineWidth = line;
    pen.beginPath();
    pen.roundRect(x, y, w, h, round);
    pen.stroke();
  }
  pen.setLineDash([]);
}

/** Write the first of `said` that hides no other face or name: above the box, else below it. */
function drawName(pen, box, face, said, { width, height, taken, always }) {
  const px = Math.max(12, Math.min(18, box.w / 8));
  pen.font = `600 ${px}px Inter, system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const h = px * 1.7;
  const above = box.y - h - 4 >= 0 ? box.y - h - 4 : box.y + 4;
  const below = box.y + box.h + 4;
  const spots = said.flatMap((words) => {
    const w = pen.measureText(words).width + px;
    const x = Math.max(2, Math.min(box.x, width - w - 2));
    return [above, below].filter((y) => y + h <= height).map((y) => ({ words, x, y, w, h }));
  });
  const free = spots.find((spot) => !taken.some((other) => other !== box && meet(spot, other)));
  const spot = free ?? (always ? spots[0] : null);
  if (!spot) return;
  taken.push(spot);
  pen.globalAlpha = face.uncertain ? 0.75 : 1;
  pen.fillStyle = colourOf(face.expression);
  pen.beginPath();
  pen.roundRect(spot.x, spot.y, spot.w, h, 6);
  pen.fill();
  pen.globalAlpha = 1;
  pen.fillStyle = inkOn(face.expression);
  pen.fillText(spot.words, spot.x + px / 2, spot.y + h / 2 + 1);
}

function meet(a, b) {
  return a.x < b.x + b.w && b.x < a.x + a.w && a.y < b.y + b.h && b.y < a.y + a.h;
}

/** Which face lies under a pointer: its index, or -1. The smallest one wins. */
export function faceAt(canvas, event, frame, mirror = false) {
  const edge = canvas.getBoundingClientRect();
  const [x, y] = [event.clientX - edge.left, event.clientY - edge.top];
  let [best, area] = [-1, Infinity];
  frame?.faces.forEach((face, index) => {
    const box = place(face, frame, edge.width, edge.height, mirror);
    const inside = x >= box.x && x <= box.x + box.w && y >= box.y && y <= box.y + box.h;
    if (inside && box.w * box.h < area) [best, area] = [index, box.w * box.h];
  });
  return best;
}
