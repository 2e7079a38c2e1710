// The little of Node.js that the tests use.

declare module "node:test" {
  export default function test(name: string, body: () => void | Promise<void>): void;
}

declare module "node:assert/strict" {
  export default function assert(condition: unknown, message?: string): asserts condition;
  export function deepEqual(actual: unknown, expected: unknown, message?: string): void;
  export function equal(actual: unknown, expected: unknown, message?: string): void;
  export function rejects(promise: Promise<unknown>, expected: RegExp): Promise<void>;
  export function throws(body: () => unknown, expected: RegExp): void;
}

declare module "node:fs" {
  export function writeFileSync(path: string, text: string): void;
}

declare module "node:process" {
  export const argv: readonly string[];
}
