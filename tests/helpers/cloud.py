"""Stand-ins for what AWS, Azure and Google do with an OIDC token: they fetch the issuer's documents over HTTP, check signature, issuer,
audience, subject and time as those do, and answer in their formats. Real clouds are not reached by any test.

    cloud = Cloud(issuer, audience="acme", subjects=["pulumi:deploy:org:acme:*"])
    cloud.url     plain HTTP;  cloud.tls_url: the same with TLS, cloud.certificate is its certificate
    cloud.calls   what was asked: (service, form or body)
"""
import datetime
import fnmatch
import ipaddress
import json
import ssl
import threading
import time
import urllib.parse
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from xml.sax.saxutils import escape

import jwt
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SESSION = {"key": "ASIASTANDINACCESSKEY", "secret": "stand-in/secret+key==" + "s" * 20, "session": "stand-in-session-token//" + "t" * 60}
AZURE_TOKEN, GOOGLE_TOKEN, SERVICE_TOKEN = "azure-access-token-" + "a" * 20, "google-federated-token-" + "g" * 20, "service-account-token-" + "v" * 20


class Refused(Exception):
    """Why the cloud does not take a token."""


def fetch(url):
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get(url, timeout=30, allow_redirects=False)
    assert answer.status_code == 200 and "json" in answer.headers["Content-Type"], f"{url}: {answer.status_code} {answer.text[:200]}"
    return answer.json()


class Verifier:
    """A trust policy, and the check that all clouds make of it."""

    def __init__(self, issuer, audience, subjects=("*",), clock=None):
        self.issuer, self.audience, self.subjects, self.clock = issuer, audience, list(subjects), clock

    def now(self):
        return time.time() + (self.clock.ahead if self.clock else 0)

    def check(self, token) -> dict:
        try:
            head = jwt.get_unverified_header(token)
            issuer = jwt.decode(token, options={"verify_signature": False}).get("iss")
        except jwt.PyJWTError as wrong:
            raise Refused(f"no token: {wrong}") from wrong
        if issuer != self.issuer:
            raise Refused(f"issuer {issuer}")
        documents = fetch(self.issuer + "/.well-known/openid-configuration")
        if documents["issuer"] != self.issuer or head.get("alg") not in documents["id_token_signing_alg_values_supported"]:
            raise Refused("the issuer's document does not fit the token")
        keys = {key["kid"]: key for key in fetch(documents["jwks_uri"])["keys"]}
        if head.get("kid") not in keys:
            raise Refused(f"no key {head.get('kid')}")
        try:
            claims = jwt.decode(token, jwt.PyJWK(keys[head["kid"]]).key, algorithms=["RS256"], audience=self.audience,
                                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False, "require": ["exp", "iat", "sub", "aud"]})
        except jwt.PyJWTError as wrong:
            raise Refused(str(wrong)) from wrong
        now = self.now()
        if not claims["nbf"] <= now < claims["exp"] or claims["iat"] > now + 5 or claims["exp"] - claims["iat"] > 24 * 3600:
            raise Refused("the token is expired, or not good yet")
        if not any(fnmatch.fnmatchcase(claims["sub"], pattern) for pattern in self.subjects):
            raise Refused(f"subject {claims['sub']}")
        return claims


def certificate(folder):
    """A key and a certificate of itself for the loopback; returns the file with both."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "stand-in")])
    now = datetime.datetime.now(datetime.timezone.utc)
    made = (x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1)).not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")]), False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), True).sign(key, hashes.SHA256()))
    file = folder / "stand-in.pem"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
                     + made.public_bytes(serialization.Encoding.PEM))
    return file


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def answer(self, status, text, kind):
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def json(self, status, body):
        self.answer(status, json.dumps(body), "application/json")

    def do_GET(self):
        # What Microsoft's library asks its authority before anything else.
        tenant, _, rest = self.path.lstrip("/").partition("/")
        if rest == "v2.0/.well-known/openid-configuration":
            base = f"https://{self.headers['Host']}/{tenant}"
            return self.json(200, {"issuer": f"{base}/v2.0", "token_endpoint": f"{base}/oauth2/v2.0/token",
                                   "authorization_endpoint": f"{base}/oauth2/v2.0/authorize", "tenant_region_scope": "EU"})
        return self.json(404, {"error": "not_found"})

    def do_POST(self):
        cloud = self.server.cloud
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        form = dict(urllib.parse.parse_qsl(body, keep_blank_values=True))
        if cloud.broken:
            cloud.broken -= 1
            return self.answer(503, "<html>busy</html>", "text/html")
        if self.path == "/":
            return self.aws(cloud, form)
        if self.path.endswith("/oauth2/v2.0/token"):
            return self.azure(cloud, self.path.split("/")[1], form)
        if self.path == "/v1/token":
            return self.google(cloud, form or json.loads(body))
        if self.path.endswith(":generateAccessToken"):
            return self.service_account(cloud, json.loads(body))
        return self.json(404, {"error": "not_found"})

    def aws(self, cloud, form):
        cloud.calls.append(("aws", form))
        name = "https://sts.amazonaws.com/doc/2011-06-15/"
        try:
            if form.get("Action") != "AssumeRoleWithWebIdentity" or form.get("Version") != "2011-06-15":
                raise Refused("an unknown action")
            if form["RoleArn"] not in cloud.roles:
                raise Refused("Not authorized to perform sts:AssumeRoleWithWebIdentity")
            claims = cloud.check(form["WebIdentityToken"])
        except Refused as why:
            code = "ExpiredTokenException" if "expired" in str(why) else "AccessDenied"
            return self.answer(403, f'<ErrorResponse xmlns="{name}"><Error><Type>Sender</Type><Code>{code}</Code>'
                               f"<Message>{escape(str(why))}</Message></Error><RequestId>1</RequestId></ErrorResponse>", "text/xml")
        end = datetime.datetime.fromtimestamp(cloud.now() + int(form.get("DurationSeconds", 3600)), datetime.timezone.utc)
        return self.answer(200, f'''<AssumeRoleWithWebIdentityResponse xmlns="{name}">
  <AssumeRoleWithWebIdentityResult>
    <SubjectFromWebIdentityToken>{escape(claims["sub"])}</SubjectFromWebIdentityToken>
    <Audience>{escape(claims["aud"])}</Audience>
    <AssumedRoleUser><Arn>{form["RoleArn"]}/{form["RoleSessionName"]}</Arn><AssumedRoleId>AROA:{form["RoleSessionName"]}</AssumedRoleId></AssumedRoleUser>
    <Credentials>
      <SessionToken>{escape(SESSION["session"])}</SessionToken>
      <SecretAccessKey>{escape(SESSION["secret"])}</SecretAccessKey>
      <Expiration>{end.strftime("%Y-%m-%dT%H:%M:%SZ")}</Expiration>
      <AccessKeyId>{SESSION["key"]}</AccessKeyId>
    </Credentials>
    <Provider>arn:aws:iam::1:oidc-provider/stand-in</Provider>
  </AssumeRoleWithWebIdentityResult>
  <ResponseMetadata><RequestId>1</RequestId></ResponseMetadata>
</AssumeRoleWithWebIdentityResponse>''', "text/xml")

    def azure(self, cloud, tenant, form):
        cloud.calls.append(("azure", {"tenant": tenant, **form}))
        try:
            if form.get("client_assertion_type") != "urn:ietf:params:oauth:client-assertion-type:jwt-bearer" or form.get("grant_type") != "client_credentials":
                raise Refused("not a client assertion")
            cloud.check(form["client_assertion"])
        except Refused as why:
            return self.json(401, {"error": "invalid_client", "error_description": f"AADSTS700213: No matching federated identity record found: {why}"})
        return self.json(200, {"token_type": "Bearer", "expires_in": 3599, "access_token": AZURE_TOKEN})

    def google(self, cloud, form):
        cloud.calls.append(("google", form))
        token = form.get("subject_token") or form.get("subjectToken")
        audience = form.get("audience", "")
        try:
            if not audience.startswith("//iam.googleapis.com/projects/"):
                raise Refused(f"audience {audience}")
            cloud.check(token)
        except Refused as why:
            return self.json(400, {"error": "invalid_grant", "error_description": str(why)})
        return self.json(200, {"access_token": GOOGLE_TOKEN, "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
                               "token_type": "Bearer", "expires_in": 3600})

    def service_account(self, cloud, body):
        account = urllib.parse.unquote(self.path.rsplit("/", 1)[1].split(":")[0])
        cloud.calls.append(("service account", {"account": account, **body}))
        if self.headers.get("Authorization") != f"Bearer {GOOGLE_TOKEN}" or account not in cloud.accounts:
            return self.json(403, {"error": {"code": 403, "message": "Permission 'iam.serviceAccounts.getAccessToken' denied on resource",
                                             "status": "PERMISSION_DENIED"}})
        return self.json(200, {"accessToken": SERVICE_TOKEN, "expireTime": "2099-01-01T00:00:00Z"})


class Cloud(Verifier):
    """All three clouds at one address. `roles` and `accounts` are what may be taken; `broken`: so many calls fail first."""

    def __init__(self, folder, issuer, audience, subjects=("*",), clock=None, roles=("arn:aws:iam::123456789012:role/deploy",),
                 accounts=("deployer@example.iam.gserviceaccount.com",)):
        super().__init__(issuer, audience, subjects, clock)
        self.roles, self.accounts, self.calls, self.broken = list(roles), list(accounts), [], 0
        self.certificate = certificate(folder)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._servers = []
        for tls in (False, True):
            server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
            server.daemon_threads = True
            server.cloud = self
            if tls:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            threading.Thread(target=server.serve_forever, daemon=True).start()
            self._servers.append(server)
        self.url = f"http://127.0.0.1:{self._servers[0].server_address[1]}"
        self.tls_url = f"https://127.0.0.1:{self._servers[1].server_address[1]}"

    def options(self):
        """For the agent."""
        return ["--aws-sts-url", self.url, "--azure-authority-url", self.url, "--google-sts-url", self.url, "--google-iam-url", self.url]

    def asked(self, service):
        return [form for name, form in self.calls if name == service]

    def stop(self):
        for server in self._servers:
            server.shutdown()
            server.server_close()
