/*
 * Answers of AWS STS: whatever comes, an element's text is no longer than the answer, and what is shown of it is a line.
 */
#include "fuzz.h"

#include "agent/credentials.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static const char *const names[] = { "AccessKeyId", "SecretAccessKey", "SessionToken", "Message", "Code" };
	_cleanup_arena_ struct arena a;
	struct str xml = { (const char *)data, size };
	arena_init(&a, 0);
	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		struct str text;
		if (!cloud_aws_element(xml, names[i], &a, &text))
			continue;
		MUST(text.n < size && strlen(text.p) == text.n);
	}
	const char *line = cloud_clean(&a, xml);
	for (const char *c = line; *c; c++)
		MUST(*c >= ' ' && *c <= '~');
	return 0;
}
