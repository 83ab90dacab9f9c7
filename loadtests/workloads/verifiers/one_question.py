"""A verifiers harness that asks its task's question once, with the standard library's own HTTP client.

verifiers' `null` harness starts a program that imports the OpenAI and MCP clients for each rollout: two
seconds of a core apiece, and packages from an index. The model call passes through the same interception in
both.
"""

import sys

import verifiers.v1 as vf
from verifiers.v1.configs.harness import HarnessConfig

_PROGRAM = """
import json, sys, urllib.request
base, key, model, prompt = sys.argv[1:]
body = json.dumps({"model": model, "messages": [{"role": "user", "content": prompt}]}).encode()
headers = {"Content-Type": "application/json", "Authorization": "Bearer " + key}
opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
with opener.open(urllib.request.Request(base + "/chat/completions", body, headers)) as reply:
    reply.read()
"""


class OneQuestionHarness(vf.Harness[HarnessConfig]):
    """One request, no tools."""

    EXECUTES_CODE = False
    NEEDS_CONTAINER = False

    async def launch(self, ctx, trace, runtime, endpoint, secret, mcp_urls, data, tool_interception_url=None):
        """Ask."""
        _, prompt = self.resolve_text_prompt(data)
        argv = [sys.executable, "-I", "-S", "-c", _PROGRAM, endpoint, secret, ctx.model, prompt or ""]
        return await runtime.run_program(argv, {})


__all__ = ["OneQuestionHarness"]
