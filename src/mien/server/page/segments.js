// From answers over time to what happened when: the rule of `mien.events`, in the page.

const ENTER = 0.5; // probability from which an expression that leads begins a segment
const LEAVE = 0.35; // below which it ends it
const SHORTEST_S = 0.25;
const PATIENCE_S = 0.5; // out of sight for so long within a segment,
const PATIENCE_STEPS = 2.5; // or, where frames are rare, for so many of the usual steps between them
const ROUNDING_S = 0.0015; // clocks are rounded to milliseconds in many files
const STEPS = 99; // by which the usual one is known
const DOUBTFUL = new Set(["badly-lit", "covered"]); // what makes a face count as out of sight

/** The steps between the first frames of a source, as these come. */
export class Steps {
  constructor() {
    this.sorted = [];
    this.now_s = Infinity;
  }

  see(now_s) {
    if (now_s > this.now_s && this.sorted.length < STEPS) {
      this.sorted.push(now_s - this.now_s);
      this.sorted.sort((a, b) => a - b);
    }
    this.now_s = now_s;
  }

  /** Their median, 0 before the second frame. */
  get usual_s() {
    return this.sorted[(this.sorted.length - 1) >> 1] ?? 0;
  }
}

/** All segments of one source, in order of their beginning. */
export function findSegments(results) {
  const open = new Map(); // of each track what is under way: the oldest, and what began while it was denied
  const found = [];
  const steps = new Steps();
  const close = (number, ended) => {
    for (const { expression, start_s, last_s: end_s, peak_s, peak, area } of ended) {
      const length = end_s - start_s;
      if (length < SHORTEST_S) continue;
      found.push({ track_id: number, expression, start_s, peak_s, end_s, mean: area / length, peak });
    }
  };
  for (const { time_s: now, faces } of results) {
    steps.see(now);
    const reach_s = Math.max(PATIENCE_S, PATIENCE_STEPS * steps.usual_s);
    for (const [number, segments] of [...open]) {
      if (now - segments.at(-1).last_s <= reach_s) continue;
      close(number, segments);
      open.delete(number);
    }
    for (const face of faces) {
      if (face.track_id !== null && canBeRead(face)) takeIn(open, close, face, now);
    }
  }
  for (const [number, segments] of open) close(number, segments);
  return found.sort((a, b) => a.start_s - b.start_s);
}

function canBeRead({ quality }) {
  return !quality?.reasons.some((reason) => DOUBTFUL.has(reason));
}

function takeIn(open, close, face, now) {
  const { track_id: number, expression } = face;
  const p = face.probs[expression];
  const underWay = open.get(number) ?? [];
  const goingOn = underWay.filter((segment) => outlives(segment, now));
  close(number, underWay.filter((segment) => !goingOn.includes(segment)));
  const holding = goingOn.findIndex((segment) => holds(segment, face));
  for (const segment of holding < 0 ? goingOn : goingOn.slice(0, holding)) {
    segment.denied.push([now, face.probs[segment.expression]]);
  }
  if (holding >= 0) {
    const segment = goingOn[holding];
    for (const [then, was] of segment.denied.splice(0)) extend(segment, then, was);
    extend(segment, now, face.probs[segment.expression]);
    goingOn.length = holding + 1; // what began meanwhile was too short
  } else if (p >= ENTER) {
    const begin = { start_s: now, last_s: now, last_p: p, peak_s: now, peak: p };
    goingOn.push({ expression, ...begin, area: 0, denied: [] });
  }
  if (goingOn.length) open.set(number, goingOn);
  else open.delete(number);
}

/** Whether what denies a segment is too short to count so far, and shorter than the segment. */
function outlives({ denied, start_s }, now) {
  if (!denied.length) return true;
  const since = denied[0][0];
  return now - since + ROUNDING_S < Math.min(SHORTEST_S, since - start_s);
}

function holds(segment, { expression, probs }) {
  const overtaken = expression !== segment.expression && probs[expression] >= ENTER;
  return probs[segment.expression] >= LEAVE && !overtaken;
}

function extend(segment, now, p) {
  segment.area += ((now - segment.last_s) * (p + segment.last_p)) / 2;
  Object.assign(segment, { last_s: now, last_p: p });
  if (p > segment.peak) Object.assign(segment, { peak: p, peak_s: now });
}
