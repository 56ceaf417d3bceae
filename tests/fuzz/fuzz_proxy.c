/* The head of a request to the agent's proxy, which a run sends; and the lines of an allow list. */
#include "agent/proxy.h"
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct str text = { (const char *)data, size };
	struct proxy_request rq;
	struct net_rule rule;
	struct err e = { 0 };
	if (proxy_parse(text, &rq, &e) == 1) {
		_cleanup_buf_ struct buf out;
		buf_init(&out, 1 << 20);
		BUG_ON(rq.head_bytes > size || rq.port == 0 || rq.host[0] == '\0' ||
		       strlen(rq.host) >= sizeof(rq.host));
		/* A beginning of a head is never taken for another request. */
		struct proxy_request again;
		BUG_ON(proxy_parse((struct str){ text.p, rq.head_bytes - 1 }, &again, &e) != 0 &&
		       rq.head_bytes <= PROXY_HEAD_MAX_BYTES);
		if (!rq.connect) {
			proxy_rewrite((struct str){ text.p, rq.head_bytes }, &out);
			BUG_ON(!str_ends_with(buf_str(&out), "\r\nConnection: close\r\n\r\n"));
		}
	}
	if (net_rule_parse(text, &rule, &e) == 0) {
		bool port = rule.port != 0;
		BUG_ON(!rule.below && !rule.literal && !net_rules_allow(&rule, 1, rule.host, port ? rule.port : 1));
	}
	return 0;
}
