// Chainlit, unmodified: its own page in a real browser, reloaded while the app asks the person.

import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { after, before, beforeEach, afterEach, describe, test } from 'node:test';

import { environment, file, freePort, launch, serve, sessmux } from './harness.mjs';

const { python, skip } = environment('chainlit');

const CONFIG = `
[project]
transports = ["websocket"]
[UI]
name = "Assistant"
[meta]
generated_by = "2.12.0"
`;

describe('Chainlit', { skip }, () => {
  const scratch = mkdtempSync(path.join(tmpdir(), 'sessmux-chainlit-'));
  const notes = path.join(scratch, 'notes');
  let browser;
  let server;
  let mux;
  let context;
  let known;
  let errors;

  before(async () => {
    mkdirSync(notes);
    mkdirSync(path.join(scratch, '.chainlit'));
    writeFileSync(path.join(scratch, '.chainlit', 'config.toml'), CONFIG);
    const port = await freePort();
    const args = ['--headless', '--host', '127.0.0.1', '--port', String(port)];
    server = await serve(python, ['-m', 'chainlit', 'run', file('../agents/chainlit_app.py'), ...args],
      { SCRATCH: notes, CHAINLIT_APP_ROOT: scratch, HOME: scratch }, port);
    mux = await sessmux(server.url, 'chainlit');
    browser = await launch();
  });
  after(async () => {
    await browser?.close();
    await mux?.stop();
    await server?.stop();
    rmSync(scratch, { recursive: true, force: true });
  });
  beforeEach(async () => {
    known = readdirSync(notes);
    errors = [];
    context = await browser.newContext();
    context.setDefaultTimeout(20_000);
  });
  afterEach(() => context.close());

  /** What the app noted in each session of this test. */
  const noted = () => readdirSync(notes).filter((session) => !known.includes(session))
    .map((session) => readFileSync(path.join(notes, session), 'utf8').trim().split('\n'));
  const asks = async (page) => {
    await page.getByText('May I begin?').waitFor();
    await page.getByRole('button', { name: 'Yes' }).waitFor();
  };
  const choose = async (page) => {
    await page.getByRole('button', { name: 'Yes' }).click();
    await chosen(page);
  };
  // the page shows the choice in the question's place
  const chosen = async (page) => {
    await page.getByText('Selected: Yes').waitFor();
    await page.getByText('It was yes.').waitFor();
    await page.getByRole('button', { name: 'Yes' }).waitFor({ state: 'detached' });
  };

  async function open(url) {
    const page = await context.newPage();
    page.on('pageerror', (error) => errors.push(error.message));
    await page.goto(url);
    await asks(page);
    return page;
  }

  test('straight, a reload loses the question: the new page is asked by another session', async () => {
    const page = await open(server.url);
    await page.reload();
    await asks(page);
    await choose(page);
    assert.deepEqual(noted().sort(), [['asked', 'begun: yes'], ['asked', 'left']]);
  });

  test('two reloads at a question: it is still asked, by the same session, and answered once', async () => {
    const page = await open(mux.url);
    for (let round = 0; round < 2; round += 1) {
      await page.reload();
      await asks(page);
    }
    await choose(page);
    await page.reload();
    await chosen(page);
    assert.deepEqual(noted(), [['asked', 'begun: yes']]);
    assert.deepEqual(errors, []);
  });

  test('what was said in a turn is there after a reload, each once, and the turn goes on', async () => {
    const page = await open(mux.url);
    await choose(page);
    const input = page.locator('#chat-input');
    const say = async (text) => {
      await input.pressSequentially(text);
      await page.keyboard.press('Enter');
    };
    const shown = async (...texts) => {
      for (const text of texts) {
        await page.getByText(text, { exact: true }).waitFor();
        assert.equal(await page.getByText(text, { exact: true }).count(), 1, text);
      }
    };
    await say('Please go');
    await shown('Please go', 'Who says so?');
    await page.reload();
    await shown('It was yes.', 'Please go', 'Who says so?');
    await say('Ann says');
    await shown('Ann says', 'Done for Ann says.');
    await page.reload();
    await shown('It was yes.', 'Please go', 'Who says so?', 'Ann says', 'Done for Ann says.');
    assert.deepEqual(noted(), [['asked', 'begun: yes', 'turn: Please go', 'said by Ann says']]);
    assert.deepEqual(errors, []);
  });

  test('a new chat is another session', async () => {
    const page = await open(mux.url);
    await choose(page);
    await page.locator('#new-chat-button').click();
    await page.getByRole('button', { name: 'Confirm' }).click();
    await asks(page);
    assert.equal(await page.getByText('It was yes.').count(), 0);
    await choose(page);
    assert.equal(noted().length, 2);
    assert.deepEqual(errors, []);
  });
});
