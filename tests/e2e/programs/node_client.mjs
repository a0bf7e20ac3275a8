// The AWS SDK for JavaScript v3 and fetch: list endpoints, invoke one, call an API that stands in front of it.
import { ListEndpointsCommand, SageMakerClient } from "@aws-sdk/client-sagemaker";
import {
  InvokeEndpointCommand, InvokeEndpointWithResponseStreamCommand, SageMakerRuntimeClient,
} from "@aws-sdk/client-sagemaker-runtime";

const [endpoint, api, path, rows] = process.argv.slice(2);
const listed = await new SageMakerClient({}).send(new ListEndpointsCommand({ NameContains: endpoint }));
if (!listed.Endpoints.some((e) => e.EndpointName === endpoint && e.CreationTime instanceof Date)) throw new Error("not listed");

const runtime = new SageMakerRuntimeClient({});
const asked = { EndpointName: endpoint, ContentType: "text/csv", Body: rows };
const answer = await runtime.send(new InvokeEndpointCommand(asked));
const scores = new TextDecoder().decode(answer.Body);
console.log("INVOKED", scores.trim().replaceAll("\n", ","));

const streamed = await runtime.send(new InvokeEndpointWithResponseStreamCommand(asked));
let text = "";
for await (const event of streamed.Body) text += new TextDecoder().decode(event.PayloadPart.Bytes);
if (text !== scores) throw new Error(`streamed ${text}`);

try {
  await runtime.send(new InvokeEndpointCommand({ ...asked, EndpointName: "nobody" }));
  throw new Error("nobody answered");
} catch (error) {
  if (error.name !== "ValidationError") throw error;
  console.log("REFUSED", error.name, error.message);
}

const found = await fetch(`${process.env.AWS_ENDPOINT_URL}/_clary/execute-api/${api}${path}`, {
  method: "POST", headers: { "Content-Type": "text/csv" }, body: rows,
});
console.log("FETCHED", found.status, await found.text());
