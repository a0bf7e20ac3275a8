# An HTTP API whose POST /predict asks a SageMaker endpoint, by way of a Lambda function.
#
#   (cd function && zip ../function.zip index.py)
#   terraform init
#   eval "$(clary env)"
#   terraform apply -var sagemaker_endpoint_name=my-endpoint
#
# The stock provider needs nothing but AWS_ENDPOINT_URL and the keys that `clary env` prints.

terraform {
  required_providers {
    aws = { source = "hashicorp/aws", version = "~> 5.0" }
  }
}

variable "region" {
  type    = string
  default = "us-east-1"
}

variable "sagemaker_endpoint_name" {
  type        = string
  description = "The endpoint that predictions come from"
}

provider "aws" {
  region = var.region
}

data "aws_caller_identity" "me" {}

resource "aws_iam_role" "function" {
  name = "predict-function"
  assume_role_policy = jsonencode({
    Version   = "2012-10-17"
    Statement = [{ Effect = "Allow", Principal = { Service = "lambda.amazonaws.com" }, Action = "sts:AssumeRole" }]
  })
}

resource "aws_iam_role_policy" "function" {
  name = "invoke-endpoint"
  role = aws_iam_role.function.name
  policy = jsonencode({
    Version = "2012-10-17"
    Statement = [
      {
        Effect   = "Allow"
        Action   = "sagemaker:InvokeEndpoint"
        Resource = "arn:aws:sagemaker:${var.region}:${data.aws_caller_identity.me.account_id}:endpoint/${var.sagemaker_endpoint_name}"
      },
      { Effect = "Allow", Action = ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:PutLogEvents"], Resource = "*" },
    ]
  })
}

resource "aws_lambda_function" "predict" {
  function_name    = "predict"
  role             = aws_iam_role.function.arn
  runtime          = "python3.12"
  handler          = "index.handler"
  filename         = "${path.module}/function.zip"
  source_code_hash = filebase64sha256("${path.module}/function.zip")
  timeout          = 30

  environment {
    variables = { SAGEMAKER_ENDPOINT = var.sagemaker_endpoint_name }
  }
}

resource "aws_apigatewayv2_api" "predict" {
  name          = "predict"
  protocol_type = "HTTP"

  cors_configuration {
    allow_origins = ["*"]
    allow_methods = ["POST", "OPTIONS"]
    allow_headers = ["content-type"]
  }
}

resource "aws_apigatewayv2_integration" "predict" {
  api_id                 = aws_apigatewayv2_api.predict.id
  integration_type       = "AWS_PROXY"
  integration_uri        = aws_lambda_function.predict.invoke_arn
  integration_method     = "POST"
  payload_format_version = "2.0"
}

resource "aws_apigatewayv2_route" "predict" {
  api_id    = aws_apigatewayv2_api.predict.id
  route_key = "POST /predict"
  target    = "integrations/${aws_apigatewayv2_integration.predict.id}"
}

resource "aws_apigatewayv2_stage" "default" {
  api_id      = aws_apigatewayv2_api.predict.id
  name        = "$default"
  auto_deploy = true
}

resource "aws_lambda_permission" "api" {
  statement_id  = "AllowAPIGatewayInvoke"
  action        = "lambda:InvokeFunction"
  function_name = aws_lambda_function.predict.arn
  principal     = "apigateway.amazonaws.com"
  source_arn    = "${aws_apigatewayv2_api.predict.execution_arn}/*/*"
}

output "url" {
  value = "${aws_apigatewayv2_api.predict.api_endpoint}/predict"
}
