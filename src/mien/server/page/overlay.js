// Draws what was found over a picture or video: boxes and names, on a canvas that lies on top of it.

import { colourOf, inkOn, nameOf, percent } from "./expressions.js";

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
  frame.faces.forEach((face, index) => {
    drawBox(pen, place(face, frame, width, height, mirror), face, index === chosen);
  });
  frame.faces.forEach((face, index) => {
    const box = place(face, frame, width, height, mirror);
    drawName(pen, box, face, frame.faces.length > 1 ? nameOf(face, index) : "", width);
  });
}

/** A face's box in pixels of the canvas. */
function place(face, frame, width, height, mirror) {
  const [x, y, w, h] = face.box;
  const [across, down] = [width / frame.width, height / frame.height];
  const left = mirror ? frame.width - x - w : x;
  return { x: left * across, y: y * down, w: w * across, h: h * down };
}

function drawBox(pen, { x, y, w, h }, face, chosen) {
  const round = Math.min(12, w / 6, h / 6);
  pen.setLineDash(face.uncertain ? [6, 6] : []);
  for (const [style, line] of [[UNDERLAY, chosen ? 6 : 4], [colourOf(face.expression), chosen ? 3 : 2]]) {
    pen.strokeStyle = style;
    pen.lineWidth = line;
    pen.beginPath();
    pen.roundRect(x, y, w, h, round);
    pen.stroke();
  }
  pen.setLineDash([]);
}

function drawName(pen, { x, y, w }, face, name, width) {
  const text = `${face.expression}${face.uncertain ? "?" : ""} ${percent(face.confidence)}`;
  const px = Math.max(12, Math.min(18, w / 8));
  pen.font = `600 ${px}px Inter, system-ui, sans-serif`;
  pen.textBaseline = "middle";
  const words = name ? `${name} · ${text}` : text;
  const [wide, high] = [pen.measureText(words).width + px, px * 1.7];
  const left = Math.max(2, Math.min(x, width - wide - 2));
  const top = y - high - 4 >= 0 ? y - high - 4 : y + 4;
  pen.globalAlpha = face.uncertain ? 0.75 : 1;
  pen.fillStyle = colourOf(face.expression);
  pen.beginPath();
  pen.roundRect(left, top, wide, high, 6);
  pen.fill();
  pen.globalAlpha = 1;
  pen.fillStyle = inkOn(face.expression);
  pen.fillText(words, left + px / 2, top + high / 2 + 1);
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
