// A function's process in Node.js: loads the handler, takes calls from the platform's Runtime API on a Unix socket.
//
// Sources of the contract: AWS, "Using the Lambda runtime API", "Define Lambda function handler in Node.js",
// "Response streaming for Lambda functions".
import fs from "node:fs";
import http from "node:http";
import { createRequire } from "node:module";
import path from "node:path";
import { Writable } from "node:stream";
import { pathToFileURL } from "node:url";
import util from "node:util";

const SOCKET = process.env.CLARY_RUNTIME_API;
delete process.env.CLARY_RUNTIME_API;
const BASE = "/2018-06-01/runtime";
const STREAMING = Symbol("streams its response");
const HTTP_RESPONSE = "application/vnd.awslambda.http-integration-response";
const agent = new http.Agent({ keepAlive: true, maxSockets: 2 });
let current = ""; // the id of the call that runs

// ---- the Runtime API ------------------------------------------------------------------------------------------------

function begin(method, where, headers, done, failed) {
  const request = http.request({ socketPath: SOCKET, path: BASE + where, method, headers, agent }, (response) => {
    const parts = [];
    response.on("data", (part) => parts.push(part));
    response.on("end", () => done({ status: response.statusCode, headers: response.headers, body: Buffer.concat(parts) }));
  });
  request.on("error", failed);
  return request;
}

function ask(method, where, body, headers = {}) {
  return new Promise((done, failed) => {
    const length = body === undefined ? {} : { "Content-Length": Buffer.byteLength(body) };
    begin(method, where, { ...headers, ...length }, done, failed).end(body);
  });
}

// ---- errors and logs ------------------------------------------------------------------------------------------------

class RuntimeError extends Error {
  constructor(name, message) {
    super(message);
    this.name = `Runtime.${name}`;
  }
}

function fault(error) {
  if (!(error instanceof Error)) return { errorType: typeof error, errorMessage: String(error), trace: [] };
  return { errorType: error.name, errorMessage: error.message, trace: (error.stack || "").split("\n") };
}

for (const [name, level] of [["log", "INFO"], ["info", "INFO"], ["warn", "WARN"], ["error", "ERROR"], ["debug", "DEBUG"], ["trace", "TRACE"]]) {
  console[name] = (...said) => {
    const text = util.format(...said).replace(/\n/g, "\r"); // one event of the log
    process.stdout.write(`${new Date().toISOString()}\t${current || "undefined"}\t${level}\t${text}\n`);
  };
}

// ---- the handler ----------------------------------------------------------------------------------------------------

globalThis.awslambda = {
  streamifyResponse(handler) {
    handler[STREAMING] = true;
    return handler;
  },
  HttpResponseStream: {
    from(stream, metadata) {
      stream.setContentType(HTTP_RESPONSE);
      stream.write(JSON.stringify(metadata));
      stream.write(Buffer.alloc(8)); // where the metadata end
      return stream;
    },
  },
};

function isModule(file) {
  if (file.endsWith(".mjs")) return true;
  if (file.endsWith(".cjs")) return false;
  for (let folder = path.dirname(file); ; folder = path.dirname(folder)) {
    const about = path.join(folder, "package.json");
    if (fs.existsSync(about)) return JSON.parse(fs.readFileSync(about, "utf8")).type === "module";
    if (folder === path.dirname(folder)) return false;
  }
}

async function load(root, named) {
  const match = /^(.*?)([^/]*?)\.(.+)$/.exec(named);
  if (!match || named.includes("..")) throw new RuntimeError("MalformedHandlerName", `Bad handler ${named}`);
  const [, folder, file, property] = match;
  const base = path.resolve(root, folder, file);
  const found = ["", ".js", ".mjs", ".cjs"].map((ending) => base + ending).find((p) => fs.existsSync(p) && fs.statSync(p).isFile());
  if (!found) throw new RuntimeError("ImportModuleError", `Error: Cannot find module '${path.join(folder, file)}'`);
  let loaded;
  try {
    loaded = isModule(found) ? await import(pathToFileURL(found)) : createRequire(found)(found);
  } catch (error) {
    if (error instanceof SyntaxError) throw new RuntimeError("UserCodeSyntaxError", `SyntaxError: ${error.message}`);
    if (error?.code === "MODULE_NOT_FOUND" || error?.code === "ERR_MODULE_NOT_FOUND") {
      throw new RuntimeError("ImportModuleError", `Error: ${error.message}`);
    }
    throw error;
  }
  const handler = property.split(".").reduce((value, key) => value?.[key], loaded);
  if (handler === undefined) throw new RuntimeError("HandlerNotFound", `${named} is undefined or not exported`);
  if (typeof handler !== "function") throw new RuntimeError("HandlerNotFound", `${named} is not a function`);
  return handler;
}

// ---- a call ---------------------------------------------------------------------------------------------------------

function contextOf(headers, settle) {
  const deadline = Number(headers["lambda-runtime-deadline-ms"]);
  const given = headers["lambda-runtime-client-context"];
  return {
    callbackWaitsForEmptyEventLoop: true, functionName: process.env.AWS_LAMBDA_FUNCTION_NAME,
    functionVersion: process.env.AWS_LAMBDA_FUNCTION_VERSION, memoryLimitInMB: process.env.AWS_LAMBDA_FUNCTION_MEMORY_SIZE,
    logGroupName: process.env.AWS_LAMBDA_LOG_GROUP_NAME, logStreamName: process.env.AWS_LAMBDA_LOG_STREAM_NAME,
    awsRequestId: headers["lambda-runtime-aws-request-id"], invokedFunctionArn: headers["lambda-runtime-invoked-function-arn"],
    clientContext: given ? JSON.parse(given) : undefined, identity: undefined,
    getRemainingTimeInMillis: () => deadline - Date.now(),
    done: settle, succeed: (value) => settle(null, value), fail: (error) => settle(error ?? new Error("handled")),
  };
}

let emptied; // called when nothing is left to happen: a handler that has called back, or that never will

function buffered(handler, event, headers) {
  return new Promise((done, failed) => {
    let called = false, outcome = [null, null];
    const finish = () => (outcome[0] ? failed(outcome[0]) : done(outcome[1] ?? null));
    const settle = (error, value) => {
      if (called) return;
      called = true;
      outcome = [error, value];
      if (!context.callbackWaitsForEmptyEventLoop) finish();
    };
    const context = contextOf(headers, settle);
    emptied = finish;
    const result = handler(event, context, settle);
    if (result && typeof result.then === "function") result.then(done, failed);
  });
}

function streamed(handler, event, headers, id) {
  return new Promise((done, failed) => {
    let broken = false;
    let type = "application/octet-stream";
    let request;
    const open = () => {
      request ??= begin(
        "POST", `/invocation/${id}/response`,
        { "Content-Type": type, "Lambda-Runtime-Function-Response-Mode": "streaming", "Transfer-Encoding": "chunked" },
        () => done(true), (error) => broken || failed(error),
      );
      return request;
    };
    const stream = new Writable({
      write: (part, encoding, next) => void open().write(part, encoding, next),
      final: (next) => void open().end(next),
    });
    stream.setContentType = (wanted) => { type = wanted; };
    const fail = (error) => {
      broken = true;
      request?.destroy(); // the reader learns of the error by the call that follows
      failed(error);
    };
    stream.on("error", fail);
    emptied = () => stream.writableEnded || stream.end();
    Promise.resolve().then(() => handler(event, stream, contextOf(headers, () => undefined))).catch(fail);
  });
}

async function one(handler) {
  const asked = await ask("GET", "/invocation/next");
  if (asked.status !== 200) return false;
  const id = asked.headers["lambda-runtime-aws-request-id"];
  current = id;
  process.env._X_AMZN_TRACE_ID = asked.headers["lambda-runtime-trace-id"] ?? "";
  try {
    const event = JSON.parse(asked.body.toString() || "null");
    if (handler[STREAMING]) await streamed(handler, event, asked.headers, id);
    else {
      const value = await buffered(handler, event, asked.headers);
      await ask("POST", `/invocation/${id}/response`, JSON.stringify(value) ?? "null", { "Content-Type": "application/json" });
    }
  } catch (error) {
    console.error("Invoke Error ", JSON.stringify(fault(error)));
    await ask("POST", `/invocation/${id}/error`, JSON.stringify(fault(error)));
  }
  emptied = undefined;
  return true;
}

process.on("beforeExit", () => emptied?.());
for (const [event, name] of [["uncaughtException", "Runtime.UnhandledError"], ["unhandledRejection", "Runtime.UnhandledPromiseRejection"]]) {
  process.on(event, async (error) => {
    const told = event === "uncaughtException" ? fault(error) : { ...fault(error), errorType: name, errorMessage: String(error) };
    console.error(event === "uncaughtException" ? "Uncaught Exception " : "Unhandled Promise Rejection ", JSON.stringify(told));
    if (current) await ask("POST", `/invocation/${current}/error`, JSON.stringify(told)).catch(() => undefined);
    process.exit(event === "uncaughtException" ? 129 : 128);
  });
}

let handler;
try {
  const root = process.env.LAMBDA_TASK_ROOT;
  process.chdir(root);
  handler = await load(root, process.env._HANDLER);
} catch (error) {
  console.error("Uncaught Exception ", JSON.stringify(fault(error)));
  await ask("POST", "/init/error", JSON.stringify(fault(error)), { "Lambda-Runtime-Function-Error-Type": error.name ?? "" });
  process.exit(1);
}
while (await one(handler).catch(() => false));
process.exit(0);
