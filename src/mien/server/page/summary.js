// What a session shows as a whole: shares, a curve over time, figures of each face. Pure numbers.

import { labelsOf } from "./expressions.js";
import { Steps } from "./segments.js";

const GAP_S = 0.5; // a face out of sight for longer,
const GAP_STEPS = 4; // and for more than so many usual steps, has left (as in reports)

/**
 * A session as a whole.
 *
 * `total` is how long faces were in sight, together; of pictures, how many there are.
 * `unit` is `time` for videos and recordings, `faces` for pictures. `shares` are of that which was
 * looked at, by expression; uncertain answers count apart, in `uncertain`. All of them sum to 1.
 */
export function summarise(results) {
  const labels = labelsOf(results);
  const moving = results.some((result) => result.faces.some((face) => face.track_id !== null));
  const weights = Object.fromEntries(labels.map((label) => [label, 0]));
  const seen = [...looks(results)];
  // Where every face was seen in one frame alone no time has passed, and each look counts as much.
  const lasting = moving && seen.some(({ seconds }) => seconds > 0);
  let uncertain = 0;
  let total = 0;
  for (const { face, seconds } of seen) {
    const weight = lasting ? seconds : 1;
    total += weight;
    if (face.uncertain) uncertain += weight;
    else weights[face.expression] += weight;
  }
  const share = (weight) => (total > 0 ? weight / total : 0);
  const begin_s = results[0]?.time_s ?? 0;
  return {
    labels,
    unit: moving ? "time" : "faces",
    total: moving && !lasting ? 0 : total,
    shares: Object.fromEntries(labels.map((label) => [label, share(weights[label])])),
    uncertain: share(uncertain),
    frames: results.length,
    begin_s,
    end_s: results.at(-1)?.time_s ?? 0,
    faces: facesOf(results).length,
  };
}

/**
 * The mean of several sessions as `summarise` gives each, and each counts once.
 *
 * `n` is how many there are, `seen` how many of them showed a face: only those have shares.
 */
export function meanSummary(summaries) {
  const timed = ({ unit }) => unit === "time";
  const faces = (summary) => (timed(summary) ? summary.faces : summary.total);
  const seen = summaries.filter((summary) => faces(summary) > 0);
  const unit = summaries.some(timed) && seen.every(timed) ? "time" : "faces";
  const labels = [...new Set(summaries.flatMap((summary) => summary.labels))];
  return {
    n: summaries.length,
    seen: seen.length,
    labels,
    unit,
    total: mean(summaries, unit === "time" ? ({ total }) => total : faces),
    shares: Object.fromEntries(
      labels.map((label) => [label, mean(seen, ({ shares }) => shares[label] ?? 0)])),
    uncertain: mean(seen, ({ uncertain }) => uncertain),
    frames: mean(summaries, ({ frames }) => frames),
    begin_s: 0,
    end_s: mean(summaries, ({ begin_s, end_s }) => end_s - begin_s),
    faces: mean(summaries, faces),
  };
}

/** The mean of curves with as many points: at each, of those sessions in which somebody was seen. */
export function meanCurve(curves) {
  return curves[0].map(({ t }, i) => {
    const known = curves.map((points) => points[i].p).filter(Boolean);
    return { t, p: known.length ? known[0].map((_, k) => mean(known, (p) => p[k])) : null };
  });
}

function mean(items, value) {
  return items.length ? items.reduce((sum, item) => sum + value(item), 0) / items.length : 0;
}

/** How long frames usually last, and how long a face is out of sight at most before it has left. */
function paceOf(results) {
  const steps = new Steps();
  for (const { time_s } of results) steps.see(time_s);
  return { usual_s: steps.usual_s, gap_s: Math.max(GAP_S, GAP_STEPS * steps.usual_s) };
}

/** Every look at a face, with how long it holds: until the next one, before a break a usual step. */
function* looks(results) {
  const { usual_s, gap_s } = paceOf(results);
  const waiting = new Map();
  for (const { time_s, faces } of results) {
    for (const face of faces) {
      if (face.track_id === null) {
        yield { face, seconds: 0 }; // of a still picture
        continue;
      }
      const before = waiting.get(face.track_id);
      if (before) {
        const lasted_s = time_s - before.time_s;
        yield { face: before.face, seconds: lasted_s > gap_s ? usual_s : Math.max(0, lasted_s) };
      }
      waiting.set(face.track_id, { face, time_s });
    }
  }
  for (const { face } of waiting.values()) yield { face, seconds: 0 };
}

/** The faces of a video, those longest in sight first: `{number, seen_s}`. */
export function facesOf(results) {
  const seen = new Map();
  for (const { face, seconds } of looks(results)) {
    if (face.track_id === null) continue;
    seen.set(face.track_id, (seen.get(face.track_id) ?? 0) + seconds);
  }
  const faces = [...seen].map(([number, seen_s]) => ({ number, seen_s }));
  return faces.sort((a, b) => b.seen_s - a.seen_s || a.number - b.number);
}

/** Mean probabilities over equal stretches of time: `{t, p}` with `p` null where nobody was seen. */
export function curve(results, labels, { points = 240, begin_s, end_s } = {}) {
  const begin = begin_s ?? results[0]?.time_s ?? 0;
  const end = end_s ?? results.at(-1)?.time_s ?? 0;
  const step = Math.max(end - begin, 1e-9) / points;
  const sums = Array.from({ length: points }, () => ({ n: 0, p: labels.map(() => 0) }));
  for (const { time_s, faces } of results) {
    const bin = sums[Math.min(points - 1, Math.floor((time_s - begin) / step))];
    for (const face of faces) {
      if (!bin) continue;
      bin.n += 1;
      labels.forEach((label, k) => (bin.p[k] += face.probs[label] ?? 0));
    }
  }
  const { usual_s, gap_s } = paceOf(results);
  return fill(
    sums.map(({ n, p }, i) => ({ t: begin + (i + 0.5) * step, p: n ? p.map((v) => v / n) : null })),
    usual_s / step,
    gap_s / step,
  );
}

/** Where frames are rarer than points, a point without a frame repeats the one before it. */
function fill(points, usual, gap) {
  const known = points.flatMap((point, i) => (point.p ? [i] : []));
  known.slice(1).forEach((to, k) => {
    const from = known[k];
    const end = to - from > gap ? from + usual : to; // out of sight after it
    for (let i = from + 1; i < end; i++) points[i].p = points[from].p;
  });
  return points;
}
