/* What is made for clouds, and read from them. */
#include "unit.h"

#include "agent/credentials.h"
#include "agent/lines.h"

static struct arena arena;

static int setup(void **state)
{
	arena_init(&arena, 0);
	return 0;
}

static int teardown(void **state)
{
	arena_done(&arena);
	return 0;
}

static void session_names(void **state)
{
	/* 36 characters. */
	static const char id[] = "0199d2a0-0000-7000-8000-000000000000";
	static const char forty[] = "aaaaaaaaaabbbbbbbbbbccccccccccdddddddddd";
	static const struct {
		const char *template, *project, *stack, *name;
	} cases[] = {
		{ "plain", "shop", "prod", "plain" },
		{ "${organization.name}-${project.name}-${stack.name}", "shop", "prod", "acme-shop-prod" },
		{ "${deployment.operation}.${operation}.${deployment.version}", "shop", "prod", "update.update.42" },
		{ "${deployment.id}", "shop", "prod", id },
		/* What is no variable stays, in what AWS takes. */
		{ "a b:${other}/${project.name", "shop", "prod", "a-b---other----project.name" },
		/* The longest give way, evenly; the deployment's own variables do not. */
		{ "${project.name}-${stack.name}", forty, forty,
		  "aaaaaaaaaabbbbbbbbbbccccccccccd-aaaaaaaaaabbbbbbbbbbccccccccccdd" },
		{ "${organization.name}-${project.name}-${stack.name}-${deployment.id}", forty, "prod",
		  "acme-aaaaaaaaaabbbbbbb-prod-0199d2a0-0000-7000-8000-000000000000" },
		{ "${deployment.id}-${deployment.id}", "shop", "prod",
		  "0199d2a0-0000-7000-8000-000000000000-0199d2a0-0000-7000-8000-000" },
		{ "", "shop", "prod", "pulumi-shop-prod-42" },
		{ "x", "shop", "prod", "x-" },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct order o = { .id = id,
				   .organization = "acme",
				   .project = cases[i].project,
				   .stack = cases[i].stack,
				   .operation = "update",
				   .version = 42,
				   .oidc = { .aws = { .session_name = cases[i].template } } };
		const char *name = cloud_aws_session_name(&arena, &o);
		assert_non_null(name);
		assert_true(strlen(name) >= 2 && strlen(name) <= 64);
		assert_int_equal(strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+=,.@-"),
				 strlen(name));
		assert_string_equal(name, cases[i].name);
	}
}

static void elements(void **state)
{
	static const struct {
		const char *xml, *text; /* NULL: refused */
	} cases[] = {
		{ "<r><K>one</K></r>", "one" },
		{ "<K></K>", "" },
		{ "<K>a&amp;b&lt;c&gt;&quot;&apos;</K>", "a&b<c>\"'" },
		{ "<K>one</K><K>two</K>", "one" },
		{ "", NULL },
		{ "<K>", NULL },
		{ "<K>one", NULL },
		{ "<L>one</L>", NULL },
		{ "<K><b/></K>", NULL },
		{ "<K>&unknown;</K>", NULL },
		{ "<K>&amp</K>", NULL },
		{ "</K><K>", NULL },
		{ "<K attribute=\"x\">one</K>", NULL },
	};
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct str text;
		bool found = cloud_aws_element(str_of(cases[i].xml), "K", &arena, &text);
		assert_int_equal(found, cases[i].text != NULL);
		if (found)
			assert_true(str_is(text, cases[i].text));
	}
}

static void clean(void **state)
{
	assert_string_equal(cloud_clean(&arena, STR(" a\nb\x1b[0m\xc3\xa9 ")), "a b [0m  ");
	assert_string_equal(cloud_clean(&arena, STR(" \n")), "nothing");
	char longer[2000];
	memset(longer, 'x', sizeof(longer));
	assert_int_equal(strlen(cloud_clean(&arena, (struct str){ longer, sizeof(longer) })), 500);
}

static struct mask_set *set_of(const char *secret)
{
	struct mask_set *s = mask_set_new();
	assert_int_equal(mask_set_add(s, str_of(secret), NULL), 1);
	assert_int_equal(mask_set_build(s, NULL), 0);
	return s;
}

static void collect(void *arg, struct str line)
{
	buf_add_str(arg, line);
}

/* Other secrets from the middle of a step on; never in the middle of one. */
static void masks_change(void **state)
{
	_cleanup_mask_set_ struct mask_set *one = set_of("first-secret");
	_cleanup_mask_set_ struct mask_set *two = set_of("second-secret");
	_cleanup_buf_ struct buf out;
	struct lines l;
	buf_init(&out, 4096);
	lines_init(&l, one, collect, &out);
	lines_feed(&l, STR("first-secret second-secret\nand first-"));
	assert_false(lines_remask(&l, two));
	lines_feed(&l, STR("secret\n"));
	assert_true(lines_remask(&l, two));
	lines_feed(&l, STR("first-secret second-secret\n"));
	lines_end(&l);
	lines_done(&l);
	assert_string_equal(buf_str(&out).p, "[secret] second-secret\nand [secret]\nfirst-secret [secret]\n");
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(session_names), cmocka_unit_test(elements),
					    cmocka_unit_test(clean), cmocka_unit_test(masks_change) };
	return cmocka_run_group_tests(tests, setup, teardown);
}
