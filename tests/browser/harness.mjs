// What the browser tests share: the demo, a browser, and a network that can be cut between them.

import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { createInterface } from 'node:readline';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
const SESSMUX = process.env.SESSMUX_BIN ?? new URL('../../target/debug/sessmux', import.meta.url).pathname;
// Chromium without a sandbox runs as root too; the rest keeps it from asking for hosts of its own.
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const playwright = await import('playwright-core').catch(() => null);

/** Why the tests cannot run, by the name of what is absent; false if they can. */
export const skip = !playwright ? 'playwright-core is absent: npm ci --prefix tests/browser'
  : !existsSync(CHROMIUM) ? `Chromium is absent: ${CHROMIUM}` : false;

/** Starts `sessmux demo` on a free port; resolves to its URL and a function that ends it. */
export async function demo() {
  const child = spawn(SESSMUX, ['demo', '--listen', '127.0.0.1:0'], { stdio: ['ignore', 'pipe', 'inherit'] });
  const gone = new Promise((_, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`sessmux demo ended with ${code}`)));
  });
  gone.catch(() => {});
  const line = new Promise((resolve) => createInterface({ input: child.stdout }).once('line', resolve));
  const url = /http:\/\/\S+/.exec(await Promise.race([line, gone]))[0];
  return { url, stop: () => child.kill() };
}

export const launch = () => playwright.chromium.launch({ executablePath: CHROMIUM, args: ARGUMENTS });

/** A TCP relay to `target` that can be cut, as a network is: connections are reset, and nobody gets through. */
export async function network(target) {
  const { hostname, port } = new URL(target);
  const open = new Set();
  let whole = true;
  const server = net.createServer((client) => {
    if (!whole) return client.resetAndDestroy();
    const upstream = net.connect(port, hostname);
    for (const [one, other] of [[client, upstream], [upstream, client]]) {
      open.add(one);
      one.pipe(other);
      one.on('error', () => other.destroy());
      one.on('close', () => open.delete(one));
    }
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    url: `http://127.0.0.1:${server.address().port}`,
    cut() {
      whole = false;
      for (const socket of open) socket.resetAndDestroy();
    },
    mend() {
      whole = true;
    },
    stop() {
      server.close();
      for (const socket of open) socket.destroy();
    },
  };
}

/** What the agent counted on one side. */
export async function counts(url, side) {
  return (await (await fetch(`${url}/stats`)).json())[side];
}
