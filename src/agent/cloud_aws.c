/* AssumeRoleWithWebIdentity of AWS STS (API version 2011-06-15): form in, XML out. */
#include <ctype.h>
#include <inttypes.h>

#include "agent/credentials.h"
#include "base/clock.h"
#include "base/limits.h"

#define SESSION_NAME_MAX 64
#define SESSION_NAME_MIN 2
#define FORM_MAX_BYTES (256 * KIB)

/* --- the session's name --- */

/* A variable of a template. Names are shortened where the whole is too long; the deployment's own are not. */
struct part {
	const char *text;
	size_t n;
	bool is_name;
};
#define PARTS_MAX 64

static const char *value_of(struct str variable, struct arena *a, const struct order *o, bool *ret_is_name)
{
	const struct {
		const char *variable, *value;
		bool is_name;
	} known[] = {
		{ "organization.name", o->organization, true },
		{ "project.name", o->project, true },
		{ "stack.name", o->stack, true },
		{ "deployment.operation", o->operation, false },
		{ "operation", o->operation, false }, /* the text of Pulumi's description says so */
		{ "deployment.version", arena_printf(a, "%" PRId64, o->version), false },
		{ "deployment.id", o->id, false },
	};
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (str_is(variable, known[i].variable)) {
			*ret_is_name = known[i].is_name;
			return known[i].value ? known[i].value : "";
		}
	}
	return NULL;
}

static size_t split(const char *template, struct arena *a, const struct order *o, struct part *parts)
{
	size_t n = 0;
	while (*template && n < PARTS_MAX) {
		const char *end = template[0] == '$' && template[1] == '{' ? strchr(template, '}') : NULL;
		struct part p = { .text = template };
		const char *value = NULL;
		if (end)
			value = value_of((struct str){ template + 2, (size_t)(end - template) - 2 }, a, o, &p.is_name);
		if (value) {
			p.text = value;
			p.n = strlen(value);
			template = end + 1;
		} else {
			const char *next = strstr(template + 1, "${");
			p.n = next ? (size_t)(next - template) : strlen(template);
			template += p.n;
		}
		parts[n++] = p;
	}
	return n;
}

static size_t total(const struct part *parts, size_t n)
{
	size_t sum = 0;
	for (size_t i = 0; i < n; i++)
		sum += parts[i].n;
	return sum;
}

/* The longest name gives its last character, again and again, so that all are cut evenly. */
static void shorten(struct part *parts, size_t n)
{
	while (total(parts, n) > SESSION_NAME_MAX) {
		struct part *longest = NULL;
		for (size_t i = 0; i < n; i++)
			if (parts[i].is_name && parts[i].n > 0 && (!longest || parts[i].n > longest->n))
				longest = &parts[i];
		if (!longest)
			return;
		longest->n--;
	}
}

char *cloud_aws_session_name(struct arena *a, const struct order *o)
{
	struct part parts[PARTS_MAX];
	const char *template = o->oidc.aws.session_name[0]
				       ? o->oidc.aws.session_name
				       : "pulumi-${project.name}-${stack.name}-${deployment.version}";
	_cleanup_buf_ struct buf b;
	buf_init(&b, 64 * KIB);
	size_t n = split(template, a, o, parts);
	shorten(parts, n);
	for (size_t i = 0; i < n; i++)
		buf_add(&b, parts[i].text, parts[i].n);
	/* Others are refused by AWS, as are names of one character. */
	for (size_t i = 0; i < b.len; i++)
		if (!isalnum((unsigned char)b.data[i]) && !strchr("_+=,.@-", b.data[i]))
			b.data[i] = '-';
	while (b.len < SESSION_NAME_MIN)
		buf_addc(&b, '-');
	return buf_failed(&b) ? NULL : arena_strndup(a, b.data, b.len < SESSION_NAME_MAX ? b.len : SESSION_NAME_MAX);
}

/* --- the answer --- */

static bool add_entity(struct buf *b, struct str name)
{
	static const struct {
		const char *name;
		char c;
	} known[] = { { "amp", '&' }, { "lt", '<' }, { "gt", '>' }, { "quot", '"' }, { "apos", '\'' } };
	for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
		if (str_is(name, known[i].name)) {
			buf_addc(b, known[i].c);
			return true;
		}
	}
	return false;
}

bool cloud_aws_element(struct str xml, const char *name, struct arena *a, struct str *ret)
{
	char open[64], close[64];
	if (snprintf(open, sizeof(open), "<%s>", name) >= (int)sizeof(open) ||
	    snprintf(close, sizeof(close), "</%s>", name) >= (int)sizeof(close))
		return false;
	const char *begin = xml.n ? memmem(xml.p, xml.n, open, strlen(open)) : NULL;
	if (!begin)
		return false;
	begin += strlen(open);
	const char *end = memmem(begin, (size_t)(xml.p + xml.n - begin), close, strlen(close));
	if (!end)
		return false;
	_cleanup_buf_ struct buf b;
	buf_init(&b, ERR_MESSAGE_MAX * KIB);
	for (const char *p = begin; p < end; p++) {
		if (*p == '<' || *p == '\0')
			return false;
		if (*p != '&') {
			buf_addc(&b, *p);
			continue;
		}
		const char *semicolon = memchr(p, ';', (size_t)(end - p));
		if (!semicolon || !add_entity(&b, (struct str){ p + 1, (size_t)(semicolon - p) - 1 }))
			return false;
		p = semicolon;
	}
	char *copy = buf_failed(&b) ? NULL : str_dup(a, buf_str(&b));
	if (copy)
		*ret = (struct str){ copy, b.len };
	return copy != NULL;
}

static int refused(const struct credentials_config *config, const struct api_oidc *token,
		   const struct cloud_answer *answer, struct err *e)
{
	struct arena *a = config->arena;
	struct str code = STR("an error"), message;
	if (!cloud_aws_element(answer->body, "Message", a, &message))
		message = answer->body;
	(void)cloud_aws_element(answer->body, "Code", a, &code);
	return err_set(e, ERR_FORBIDDEN,
		       "the role %s was refused: %s: %s (HTTP %d; the token's issuer is %s, its audience %s, its "
		       "subject %s)",
		       cloud_clean(a, str_of(config->order->oidc.aws.role_arn)), cloud_clean(a, code),
		       cloud_clean(a, message), answer->status, token->issuer, token->audience, token->subject);
}

/* Printable, and nothing that an environment could not hold. */
static bool value_of_element(const struct cloud_answer *answer, const char *name, struct arena *a, const char **ret)
{
	struct str text;
	if (!cloud_aws_element(answer->body, name, a, &text) || text.n == 0)
		return false;
	for (size_t i = 0; i < text.n; i++)
		if (text.p[i] <= ' ' || (unsigned char)text.p[i] >= 0x7F)
			return false;
	*ret = text.p;
	return true;
}

/* --- the request --- */

/* The region that the run is set to; it stands in a host name. */
static const char *region_of(const struct order *o)
{
	static const char *const names[] = { "AWS_REGION", "AWS_DEFAULT_REGION" };
	for (size_t n = 0; n < ARRAY_SIZE(names); n++) {
		for (size_t i = 0; i < o->variable_count; i++) {
			struct str v = o->variables[i].value;
			bool plain = v.n > 0 && v.n < 40;
			for (size_t c = 0; c < v.n; c++)
				plain = plain && (isalnum((unsigned char)v.p[c]) || v.p[c] == '-');
			if (streq(o->variables[i].name, names[n]) && plain)
				return v.p;
		}
	}
	return NULL;
}

static const char *endpoint(const struct credentials_config *config)
{
	const char *region = region_of(config->order), *arn = config->order->oidc.aws.role_arn;
	bool china = str_starts_with(str_of(arn), "arn:aws-cn:");
	bool government = str_starts_with(str_of(arn), "arn:aws-us-gov:");
	if (config->clouds->aws_sts)
		return config->clouds->aws_sts;
	if (!region)
		region = china ? "cn-north-1" : government ? "us-gov-west-1" : NULL;
	if (!region)
		return "https://sts.amazonaws.com";
	return arena_printf(config->arena, "https://sts.%s.amazonaws.com%s", region, china ? ".cn" : "");
}

static int write_form(const struct credentials_config *config, const struct api_oidc *token, const char *session,
		      struct buf *form, struct err *e)
{
	const struct order_oidc *oidc = &config->order->oidc;
	char text[64];
	int64_t us;
	cloud_form_add(form, "Action", "AssumeRoleWithWebIdentity");
	cloud_form_add(form, "Version", "2011-06-15");
	cloud_form_add(form, "RoleArn", oidc->aws.role_arn);
	cloud_form_add(form, "RoleSessionName", session);
	cloud_form_add(form, "WebIdentityToken", token->token);
	if (oidc->aws.duration[0] && str_to_go_duration_us(str_of(oidc->aws.duration), &us) && us > 0) {
		snprintf(text, sizeof(text), "%" PRId64, us / US_PER_S);
		cloud_form_add(form, "DurationSeconds", text);
	}
	for (size_t i = 0; oidc->aws.policy_arns[i]; i++) {
		snprintf(text, sizeof(text), "PolicyArns.member.%zu.arn", i + 1);
		cloud_form_add(form, text, oidc->aws.policy_arns[i]);
	}
	return buf_check(form, "the request", e);
}

int cloud_aws(const struct credentials_config *config, const struct api_oidc *token, struct credentials *c,
	      struct err *e)
{
	struct arena *a = config->arena;
	const char *role = config->order->oidc.aws.role_arn, *key, *secret, *session_token;
	const char *session = cloud_aws_session_name(a, config->order), *url = endpoint(config);
	struct cloud_answer answer;
	struct str expires = STR("?");
	_cleanup_buf_ struct buf form;
	buf_init(&form, FORM_MAX_BYTES);
	int r = cloud_need(role, "aws.roleArn", e);
	if (r == 0 && (!session || !url))
		r = err_nomem(e);
	if (r == 0)
		r = write_form(config, token, session, &form, e);
	if (r < 0)
		return r;
	const char *line = arena_printf(a, "AWS: assuming the role %s as %s at %s", role, session, url);
	config->say(config->arg, line ? line : "AWS: assuming the role");
	r = cloud_post(config, url, "/", "application/x-www-form-urlencoded", NULL, buf_str(&form), &answer, e);
	if (r < 0)
		return err_wrap(e, "the role %s cannot be assumed", role);
	if (answer.status >= 300)
		return refused(config, token, &answer, e);
	if (!value_of_element(&answer, "AccessKeyId", a, &key) ||
	    !value_of_element(&answer, "SecretAccessKey", a, &secret) ||
	    !value_of_element(&answer, "SessionToken", a, &session_token))
		return err_set(e, ERR_UNAVAILABLE, "%s answered without credentials for the role %s: is it an STS?",
			       url, role);
	(void)cloud_aws_element(answer.body, "Expiration", a, &expires);
	credentials_set(c, "AWS_ACCESS_KEY_ID", key, true);
	credentials_set(c, "AWS_SECRET_ACCESS_KEY", secret, true);
	credentials_set(c, "AWS_SESSION_TOKEN", session_token, true);
	line = arena_printf(a, "AWS: credentials until %s", cloud_clean(a, expires));
	config->say(config->arg, line ? line : "AWS: credentials");
	return 0;
}
