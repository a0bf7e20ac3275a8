// Beside inline code of Node.js: tells CloudFormation how a custom resource fared. Source of the contract: AWS,
// "cfn-response module".
const http = require("http");
const https = require("https");

exports.SUCCESS = "SUCCESS";
exports.FAILED = "FAILED";

exports.send = function (event, context, status, data, physicalId, noEcho) {
  return new Promise((done) => {
    const body = JSON.stringify({
      Status: status, Reason: `See the details in CloudWatch Log Stream: ${context.logStreamName}`,
      PhysicalResourceId: physicalId || context.logStreamName, StackId: event.StackId, RequestId: event.RequestId,
      LogicalResourceId: event.LogicalResourceId, NoEcho: noEcho || false, Data: data,
    });
    const url = new URL(event.ResponseURL);
    const options = { method: "PUT", headers: { "content-type": "", "content-length": Buffer.byteLength(body) } };
    const finish = () => (context.done(), done());
    const request = (url.protocol === "http:" ? http : https).request(url, options, (response) => response.resume().on("end", finish));
    request.on("error", (error) => (console.log(`the response could not be sent: ${error}`), finish()));
    request.end(body);
  });
};
