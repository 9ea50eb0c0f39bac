// The demo page in a real browser: what one F5 shows, straight and through sessmux.

import assert from 'node:assert/strict';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';

import { counts, demo, launch, network, skip } from './harness.mjs';

describe('the demo page', { skip }, () => {
  let browser;
  let running;
  let context;

  before(async () => {
    browser = await launch();
  });
  after(() => browser?.close());
  // An agent of its own for each test: it counts from 0.
  beforeEach(async () => {
    running = await demo();
    context = await browser.newContext();
    context.setDefaultTimeout(20_000);
  });
  afterEach(async () => {
    await context.close();
    await running.stop();
  });

  const half = (page, side) => page.frameLocator(`iframe[name=${side}]`);
  const card = (at) => at.locator('.call');
  const words = (at, count) => at.locator('#transcript article p')
    .first()
    .filter({ hasText: new RegExp(`(\\S+\\s+){${count}}`) })
    .waitFor();

  async function open(url = running.url) {
    const page = await context.newPage();
    await page.goto(url);
    for (const side of ['straight', 'sessmux']) {
      await half(page, side).locator('#state[data-state=open]').waitFor();
    }
    return page;
  }

  async function finish(at) {
    await at.getByRole('button', { name: 'Approve' }).click();
    await at.locator('.call.good').waitFor();
    await at.locator('#send:enabled').waitFor();
  }

  const transcript = (at) => at.locator('#transcript').innerText();

  /** The whole conversation as somebody sees it who never reloads. */
  async function undisturbed() {
    const page = await open();
    await page.locator('#ask-both').click();
    await finish(half(page, 'straight'));
    const text = await transcript(half(page, 'straight'));
    await finish(half(page, 'sessmux'));
    await page.close();
    return text;
  }

  async function assertOneConnection(url = running.url) {
    const { connections, cancelled, tool_runs: runs } = await counts(url, 'sessmux');
    assert.deepEqual({ connections, cancelled, runs }, { connections: 1, cancelled: 0, runs: 1 });
  }

  test('a reload amid tokens loses nothing and shows nothing twice', async () => {
    const page = await open();
    await page.locator('#ask-both').click();
    await words(half(page, 'sessmux'), 10);
    await page.reload();
    await finish(half(page, 'sessmux'));
    const seen = await transcript(half(page, 'sessmux'));
    await assertOneConnection();
    assert.equal((await counts(running.url, 'straight')).cancelled, 1);
    await running.stop();
    running = await demo();
    assert.equal(seen, await undisturbed());
  });

  test('a reload at the pending approval shows it again, and the tool runs once', async () => {
    const page = await open();
    await page.locator('#ask-both').click();
    await card(half(page, 'sessmux')).waitFor();
    await card(half(page, 'straight')).waitFor();
    await page.reload();
    await card(half(page, 'sessmux')).waitFor();
    await half(page, 'straight').getByText('The turn was cancelled').waitFor();
    await finish(half(page, 'sessmux'));
    await assertOneConnection();
    const straight = await counts(running.url, 'straight');
    assert.deepEqual([straight.connections, straight.cancelled, straight.tool_runs], [2, 1, 0]);
  });

  test('three reloads in a row', async () => {
    const page = await open();
    await page.locator('#ask-both').click();
    await card(half(page, 'sessmux')).waitFor();
    for (let round = 0; round < 3; round += 1) {
      await page.reload({ waitUntil: 'commit' });
      await half(page, 'sessmux').locator('#state[data-state=open]').waitFor();
    }
    await finish(half(page, 'sessmux'));
    assert.equal(await card(half(page, 'sessmux')).count(), 1);
    await assertOneConnection();
  });

  test('of two tabs the newer has the conversation, and the older one says so', async () => {
    const older = await open();
    await older.locator('#ask-both').click();
    await card(half(older, 'sessmux')).waitFor();
    const newer = await open();
    await half(older, 'sessmux').locator('#state[data-state=closed][data-code="4001"]').waitFor();
    await finish(half(newer, 'sessmux'));
    // and does not take it back
    assert.equal(await half(older, 'sessmux').locator('#state').getAttribute('data-state'), 'closed');
    await assertOneConnection();
  });

  test('offline and back', async () => {
    const wire = await network(running.url);
    try {
      const page = await open(wire.url);
      await page.locator('#ask-both').click();
      await words(half(page, 'sessmux'), 10);
      wire.cut();
      await half(page, 'sessmux').locator('#state[data-state=waiting]').waitFor();
      const before = await transcript(half(page, 'sessmux'));
      wire.mend();
      await half(page, 'sessmux').locator('#state[data-state=open]').waitFor();
      await finish(half(page, 'sessmux'));
      const seen = await transcript(half(page, 'sessmux'));
      assert.ok(seen.startsWith(before.trimEnd()), 'what was on screen stayed there');
      assert.equal(await half(page, 'sessmux').locator('.mark.bad').count(), 0);
      await assertOneConnection();
      await running.stop();
      running = await demo();
      assert.equal(seen, await undisturbed());
    } finally {
      wire.stop();
    }
  });
});
