// What the browser tests share: the demo, a browser, and a network that can be cut between them.

import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import net from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

const CHROMIUM = process.env.CHROMIUM ?? '/usr/bin/chromium';
/** The path of what stands beside this file. */
export const file = (relative) => fileURLToPath(new URL(relative, import.meta.url));
const SESSMUX = process.env.SESSMUX_BIN ?? file('../../target/debug/sessmux');
// Chromium without a sandbox runs as root too; the rest keeps it from asking for hosts of its own.
const ARGUMENTS = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync'];

const playwright = await import('playwright-core').catch(() => null);

/** Why the tests cannot run, by the name of what is absent; false if they can. */
export const skip = !playwright ? 'playwright-core is absent: npm ci --prefix tests/browser'
  : !existsSync(CHROMIUM) ? `Chromium is absent: ${CHROMIUM}` : false;

/** The Python of an environment of tests/agents, which is made where it is missing; and why there is none. */
export function environment(name) {
  if (skip) return { skip };
  const made = spawnSync('python3', [file('../agents/venvs.py'), name], { encoding: 'utf8' });
  return made.status === 0 ? { python: made.stdout.trim(), skip: false }
    : { skip: `no Python environment: ${made.stderr?.trim() || made.error}` };
}

/**
 * Starts a server; resolves to the first URL with an address that it prints, and a function that ends it and resolves
 * once it is gone: until then it may write into its folders. One that is known to listen on `port` is ready once it
 * accepts connections there.
 */
export async function serve(command, args, env = {}, port = null) {
  const child = spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, SESSMUX_ADMIN: 'off', ...env } });
  const said = [];
  const gone = new Promise((resolve) => child.once('exit', resolve));
  const url = new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('exit', (code) => reject(new Error(`${command} ended with ${code}:\n${said.join('\n')}`)));
    for (const output of [child.stdout, child.stderr]) {
      createInterface({ input: output }).on('line', (line) => {
        said.push(line);
        const found = /https?:\/\/127\.0\.0\.1:\d+/.exec(line);
        if (found && port === null) resolve(found[0]);
      });
    }
    if (port !== null) accepts(port, child).then(() => resolve(`http://127.0.0.1:${port}`));
  });
  return { url: await url, said, stop: () => stop(child, gone) };
}

/** Asks a process to end, and ends it if it does not within 10 s: some servers wait for what is connected. */
async function stop(child, gone) {
  child.kill('SIGINT');
  const late = setTimeout(() => child.kill('SIGKILL'), 10_000);
  await gone;
  clearTimeout(late);
}

/** Waits until connections to a port are accepted, or the child has ended. */
async function accepts(port, child) {
  const connects = () => new Promise((resolve) => {
    const socket = net.connect(port, '127.0.0.1', () => {
      resolve(true);
      socket.destroy();
    }).on('error', () => resolve(false));
  });
  while (child.exitCode === null && !await connects()) await new Promise((resolve) => setTimeout(resolve, 50));
}

/** Starts `sessmux demo` on a free port. */
export const demo = () => serve(SESSMUX, ['demo', '--listen', '127.0.0.1:0']);

/** sessmux in front of a server, with a profile alone or with other flags. */
export const sessmux = (upstream, profile, flags = ['--profile', profile]) =>
  serve(SESSMUX, ['--upstream', upstream, '--listen', '127.0.0.1:0', ...flags]);

/**
 * A port that is free now, for servers that cannot choose one: below those that the system hands out (Linux,
 * ip_local_port_range), or somebody else may have it by the time that it is used.
 */
export async function freePort() {
  for (;;) {
    const [server, port] = [net.createServer(), 20_000 + Math.floor(Math.random() * 12_000)];
    const free = await new Promise((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
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
