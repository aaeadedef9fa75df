// A list that is shown anew now and then: rows that say the same stay, and so does the reader's place.

import { make } from "./dom.js";

export class Rows {
  /** `empty` stands there while the list has no row. */
  constructor(empty) {
    this.list = make("ul", { class: "list" });
    this.empty = make("p", { class: "empty-line", tabindex: -1 }, empty);
    this.element = make("div", {}, this.list, this.empty);
    this.rows = new Map(); // id -> {said, row}
  }

  /** Show `items`, `{id, said, build}` each: `build()` makes the row (`li`) of one that says something
   * else than before (`said`, a text). */
  show(items) {
    const held = document.activeElement;
    const place = [...this.list.children].findIndex((row) => row.contains(held));
    const id = [...this.rows].find(([, { row }]) => row.contains(held))?.[0];
    const before = this.rows;
    this.rows = new Map(items.map((item) => {
      const known = before.get(item.id);
      return [item.id, known?.said === item.said ? known : { said: item.said, row: item.build() }];
    }));
    const wanted = [...this.rows.values()].map(({ row }) => row);
    for (const row of [...this.list.children]) if (!wanted.includes(row)) row.remove();
    wanted.forEach((row, i) => {
      const there = this.list.children[i] ?? null;
      if (row !== there) this.list.insertBefore(row, there);
    });
    this.list.hidden = !wanted.length;
    this.empty.hidden = wanted.length > 0;
    if (place < 0 || this.list.contains(held)) return;
    this.regain(held, this.rows.get(id)?.row ?? wanted[Math.min(place, wanted.length - 1)]);
  }

  /** What had the focus is gone: its like in this row has it then, or what stands for no row. */
  regain(held, row) {
    const all = [...(row?.querySelectorAll("button, a, input") ?? [])];
    const like = all.find((one) => one.tagName === held.tagName && one.textContent === held.textContent);
    (like ?? all.at(-1) ?? this.empty).focus();
  }

  /** Make this row anew at the next time, whatever it says. */
  forget(id) {
    const known = this.rows.get(id);
    if (known) known.said = null;
  }
}
