// An endpoint of the built-in XGBoost, a Lambda function that asks it, an HTTP API in front; by the AWS CDK (v2).
//
//   npm install aws-cdk aws-cdk-lib constructs
//   clary run -- npx cdk bootstrap
//   clary run -- npx cdk deploy --parameters ModelData=s3://BUCKET/KEY/model.tar.gz
import * as cdk from "aws-cdk-lib";
import * as gateway from "aws-cdk-lib/aws-apigatewayv2";
import { HttpLambdaIntegration } from "aws-cdk-lib/aws-apigatewayv2-integrations";
import * as iam from "aws-cdk-lib/aws-iam";
import * as lambda from "aws-cdk-lib/aws-lambda";
import * as sagemaker from "aws-cdk-lib/aws-sagemaker";

const stack = new cdk.Stack(new cdk.App(), "Served");
const modelData = new cdk.CfnParameter(stack, "ModelData", { description: "The archive that a training job made" });

const role = new iam.Role(stack, "ModelRole", { assumedBy: new iam.ServicePrincipal("sagemaker.amazonaws.com") });
role.addToPolicy(new iam.PolicyStatement({ actions: ["s3:GetObject"], resources: ["*"] }));
const model = new sagemaker.CfnModel(stack, "Model", {
  executionRoleArn: role.roleArn,
  primaryContainer: {
    image: "683313688378.dkr.ecr.us-east-1.amazonaws.com/sagemaker-xgboost:1.7-1", modelDataUrl: modelData.valueAsString,
  },
});
const config = new sagemaker.CfnEndpointConfig(stack, "Config", {
  productionVariants: [{
    variantName: "AllTraffic", modelName: model.attrModelName, instanceType: "ml.m5.large", initialInstanceCount: 1,
    initialVariantWeight: 1,
  }],
});
const endpointName = `${stack.stackName}-endpoint`;
const endpoint = new sagemaker.CfnEndpoint(stack, "Endpoint", {
  endpointName, endpointConfigName: config.attrEndpointConfigName,
});

const predict = new lambda.Function(stack, "Predict", {
  runtime: lambda.Runtime.PYTHON_3_12, handler: "index.handler", code: lambda.Code.fromAsset("function"),
  timeout: cdk.Duration.seconds(30), environment: { ENDPOINT_NAME: endpointName },
});
predict.addToRolePolicy(new iam.PolicyStatement({ actions: ["sagemaker:InvokeEndpoint"], resources: [endpoint.ref] }));

const api = new gateway.HttpApi(stack, "Api", { corsPreflight: { allowOrigins: ["*"], allowMethods: [gateway.CorsHttpMethod.POST] } });
api.addRoutes({
  path: "/predict", methods: [gateway.HttpMethod.POST], integration: new HttpLambdaIntegration("Prediction", predict),
});
new cdk.CfnOutput(stack, "Url", { value: `${api.apiEndpoint}/predict` });
