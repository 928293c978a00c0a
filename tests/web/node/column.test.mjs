/* Which cards of a column stand in the page: always the first ones, about as many as are wanted, and a card that
 * comes or goes among them takes none of the others with it.
 */
import assert from "node:assert/strict";
import { test } from "node:test";
import { random } from "./browser.mjs";

const { SLACK, WINDOW } = await import("../../../warmdesk/web/board_column.js");
const { BoardStore } = await import("../../../warmdesk/web/board_store.js");
const { grow } = await import("../../../warmdesk/web/column.js");

const card = (id, position) => ({ id, card_number: id, column_id: 1, title: `Card ${id}`, position, assignee_ids: [], label_ids: [], tags: [], version: 1 });

/** A board of one column with so many cards. */
function boardOf(count) {
  const store = new BoardStore("demo");
  const cards = Array.from({ length: count }, (_, at) => card(at + 1, at + 1));
  const column = { id: 1, name: "One", position: 1, card_count: count, cards_more: false, cards_next: null, cards };
  store.load({ name: "Demo", key_prefix: "D", slug: "demo", columns: [column], labels: [], members: [], members_more: false, member_count: 0, my_role: "member", is_archived: false, seq: 0, epoch: "e" });
  return { store, column: store.cols.get(1) };
}

test("a screen is filled twice", () => {
  assert.equal(WINDOW, 30);
});

test("whatever comes and goes, the first ones stand there, and few are touched", () => {
  let others = 0; // how often cards came or went that nothing happened to
  for (let seed = 1; seed <= 300; seed += 1) {
    const chance = random(seed);
    const pick = (below) => Math.floor(chance() * below);
    const count = pick(120);
    const { store, column } = boardOf(count);
    let ids = column.ids.peek();
    let last = count;
    for (let step = 0; step < 60; step += 1) {
      const before = column.window.peek();
      const kind = ids.length ? pick(3) : 0;
      const id = kind ? ids[pick(ids.length)] : (last += 1);
      if (kind === 0) store.rules.cardIs(card(id, chance() * count));
      else if (kind === 1) store.rules.cardIs({ ...store.cards.get(id).peek(), position: chance() * count });
      else store.rules.carryOut({ type: "board.card_deleted", payload: { card_id: id } });
      ids = column.ids.peek();
      const shown = column.window.peek();
      assert.deepEqual(shown, ids.slice(0, shown.length), `seed ${seed}, step ${step}`);
      assert.ok(shown.length >= Math.min(ids.length, WINDOW - SLACK));
      assert.ok(shown.length <= WINDOW + 2 * SLACK);
      const came = shown.filter((one) => one !== id && !before.includes(one));
      const went = before.filter((one) => one !== id && !shown.includes(one));
      assert.ok(came.length + went.length <= 2 * SLACK + 1, `seed ${seed}, step ${step}`);
      if (came.length + went.length) others += 1;
    }
    column.level();
    assert.equal(column.surplus, 0);
    assert.equal(column.window.peek().length, Math.min(ids.length, WINDOW));
  }
  assert.ok(others <= 300, `${others}`);
});

test("it grows to the end, from wherever it stood", async () => {
  for (let seed = 1; seed <= 100; seed += 1) {
    const chance = random(seed);
    const pick = (below) => Math.floor(chance() * below);
    const count = WINDOW - 10 + pick(200);
    const { store, column } = boardOf(count);
    for (let step = 0; step < pick(20); step += 1) store.rules.carryOut({ type: "board.card_deleted", payload: { card_id: 1 + pick(20) } });
    for (let step = 0; step < 12; step += 1) {
      const before = column.window.peek().length;
      await grow(store, column);
      const all = column.ids.peek().length;
      assert.ok(column.window.peek().length > before || before === all, `seed ${seed}: ${before} of ${all}`);
    }
    assert.deepEqual(column.window.peek(), column.ids.peek());
  }
});
