// Streamlit, unmodified: its own page in a real browser, reloaded and cut off amid a run of its script.

import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';

import { environment, file, freePort, launch, network, serve, sessmux } from './harness.mjs';

const { python, skip } = environment('streamlit');

describe('Streamlit', { skip }, () => {
  const scratch = mkdtempSync(path.join(tmpdir(), 'sessmux-streamlit-'));
  const app = file('streamlit_app.py');
  let browser;
  let server;
  let mux;
  let context;
  let tag;
  let errors;
  /** Messages that stood for one of an earlier run, by its hash. */
  let references;

  before(async () => {
    const options = { 'server.address': '127.0.0.1', 'server.port': await freePort(), 'server.headless': true,
      'server.fileWatcherType': 'none', 'browser.gatherUsageStats': false };
    const flags = Object.entries(options).flatMap(([name, value]) => [`--${name}`, String(value)]);
    server = await serve(python, ['-m', 'streamlit', 'run', app, ...flags], { SCRATCH: scratch });
    mux = await sessmux(server.url, 'streamlit');
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await mux?.stop();
    await server?.stop();
    rmSync(scratch, { recursive: true, force: true });
  });
  beforeEach(async () => {
    tag = randomUUID();
    errors = [];
    references = 0;
    context = await browser.newContext();
    context.setDefaultTimeout(20_000);
  });
  afterEach(() => context.close());

  const count = (name) => {
    const file = path.join(scratch, tag, name);
    return existsSync(file) ? readFileSync(file).length : 0;
  };
  const counts = () => ({ begun: count('begun'), ended: count('ended') });
  const letGo = (run) => writeFileSync(path.join(scratch, tag, `go-${run}`), '');
  // elements are drawn one by one, as their scripts are loaded
  const see = async (page, ...texts) => {
    for (const text of ['Again', 'large large', ...texts]) await page.getByText(text).waitFor();
  };
  const waits = (page) => see(page, 'at step 2', 'step 1 is done');
  const ends = (page) => see(page, 'at step 3', 'all is done');
  const shown = (page) => page.getByTestId('stMain').innerText();
  const shows = (page, text) =>
    page.waitForFunction((all) => document.querySelector('[data-testid=stMain]').innerText === all, text);
  const press = (page) => page.getByRole('button', { name: 'Again' }).click();

  async function open(url) {
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(error.message));
    page.on('websocket', (socket) => socket.on('framereceived', ({ payload }) => {
      if (/^\x12&[^]{38}Z [0-9a-f]{32}$/.test(payload.toString('latin1'))) references += 1;
    }));
    await page.goto(`${url}/?tag=${tag}`);
    await waits(page);
    return page;
  }

  /** Says that nothing was thrown in the page, and no error is shown. */
  async function assertFine(page) {
    assert.deepEqual(errors, []);
    assert.equal(await page.getByRole('dialog').count(), 0);
    assert.equal(await page.getByTestId('stException').count(), 0);
  }

  test('straight, a reload stops the script and runs it again', async () => {
    const page = await open(server.url);
    await page.reload();
    await waits(page);
    assert.deepEqual(counts(), { begun: 2, ended: 0 });
    letGo(0);
    await ends(page);
    assert.deepEqual(counts(), { begun: 2, ended: 1 });
  });

  test('two reloads amid a run: it runs once, and the page shows all that it showed, and goes on', async () => {
    const page = await open(mux.url);
    const before = await shown(page);
    for (let round = 0; round < 2; round += 1) {
      await page.reload();
      await waits(page);
      await shows(page, before);
    }
    letGo(0);
    await ends(page);
    assert.deepEqual(counts(), { begun: 1, ended: 1 });
    await assertFine(page);
  });

  test('a reload after the end shows the end, and a press and a reload amid the next run count once each', async () => {
    const page = await open(mux.url);
    letGo(0);
    await ends(page);
    const before = await shown(page);
    await page.reload();
    await ends(page);
    await shows(page, before);
    await press(page);
    await see(page, 'presses: 1', 'at step 2');
    assert.equal(references, 1);
    await page.reload();
    await see(page, 'presses: 1', 'at step 2');
    assert.equal(references, 2, 'the same reference, to what was replayed before it');
    assert.deepEqual(counts(), { begun: 2, ended: 1 });
    letGo(1);
    await page.locator('[data-stale=false]').getByText('all is done').waitFor();
    assert.deepEqual(counts(), { begun: 2, ended: 2 });
    await press(page);
    await page.getByText('presses: 2').waitFor();
    letGo(2);
    await assertFine(page);
  });

  test('straight, a cut amid a run starts it again', async () => {
    const wire = await network(server.url);
    try {
      const page = await open(wire.url);
      await cut(page, wire);
      while (count('begun') < 2) await page.waitForTimeout(20);
      letGo(0);
      await ends(page);
    } finally {
      wire.stop();
    }
  });

  test('a cut amid a run starts nothing again', async () => {
    const wire = await network(mux.url);
    try {
      const page = await open(wire.url);
      await cut(page, wire);
      letGo(0);
      await ends(page);
      // the server takes what a page says in order: a run that the cut began would be counted by now
      await press(page);
      await page.getByText('presses: 1').waitFor();
      assert.deepEqual(counts(), { begun: 2, ended: 1 });
      letGo(1);
      await assertFine(page);
    } finally {
      wire.stop();
    }
  });

  test('after a cut while nothing runs the first press counts', async () => {
    const wire = await network(mux.url);
    try {
      const page = await open(wire.url);
      letGo(0);
      await ends(page);
      await cut(page, wire);
      await press(page);
      await page.getByText('presses: 1').waitFor();
      assert.deepEqual(counts(), { begun: 2, ended: 1 });
      letGo(1);
      await assertFine(page);
    } finally {
      wire.stop();
    }
  });

  /** Cuts the network until the page has noticed it, and waits until it is connected again. */
  async function cut(page, wire) {
    const redial = page.waitForEvent('websocket');
    wire.cut();
    await page.getByTestId('stConnectionStatus').waitFor();
    wire.mend();
    await redial;
    await page.getByTestId('stConnectionStatus').waitFor({ state: 'detached' });
  }
});
