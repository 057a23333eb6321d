package sigma

import (
	"slices"

	"tidewatch/rules"
)

// source is a log of Zeek, as Sigma's rules name it.
type source struct {
	kind   string            // of its records
	fields map[string]string // what a column of the log is called here
}

// ends are the columns of nearly every log.
var ends = map[string]string{
	"id.orig_h": "source.ip", "id.orig_p": "source.port", "id.resp_h": "destination.ip", "id.resp_p": "destination.port",
	"local_orig": "source.local", "local_resp": "destination.local", "proto": "network.transport",
}

// sources are the logs that rules can be for.
var sources = map[string]source{
	"conn": with("conn", map[string]string{
		"service": "network.protocol", "conn_state": "connection.state", "history": "connection.history", "missed_bytes": "connection.missed_bytes",
		"orig_pkts": "source.packets", "resp_pkts": "destination.packets", "orig_ip_bytes": "source.bytes", "resp_ip_bytes": "destination.bytes",
		"orig_l2_addr": "source.mac", "resp_l2_addr": "destination.mac",
	}),
	"dns": with("dns", map[string]string{
		"query": "dns.question.name", "qtype_name": "dns.question.type", "rcode_name": "dns.response_code", "answers": "dns.answers.data",
		"rejected": "dns.rejected", "AA": "dns.authoritative",
	}),
	"http": with("http", map[string]string{
		"method": "http.request.method", "host": "url.domain", "uri": "url.original", "referrer": "http.request.referrer", "user_agent": "user_agent.original",
		"status_code": "http.response.status_code", "request_body_len": "http.request.body.bytes", "response_body_len": "http.response.body.bytes",
		"resp_mime_types": "http.response.mime_type", "orig_mime_types": "http.request.mime_type", "proxied": "http.proxied",
		// As SigmaHQ's rules for proxies and web servers name them.
		"c-uri": "url.original", "c-useragent": "user_agent.original", "cs-method": "http.request.method", "cs-host": "url.domain", "sc-status": "http.response.status_code",
	}),
	"ssl": with("tls", map[string]string{
		"version": "tls.version", "cipher": "tls.cipher", "curve": "tls.curve", "server_name": "tls.client.server_name", "resumed": "tls.resumed",
		"established": "tls.established", "next_protocol": "tls.next_protocol", "subject": "tls.server.subject", "issuer": "tls.server.issuer",
		"client_subject": "tls.client.subject", "validation_status": "tls.validation", "ja3": "tls.client.ja3", "ja3s": "tls.server.ja3s",
		"ja4": "tls.client.ja4", "ja4s": "tls.server.ja4s",
	}),
	"x509": with("x509", map[string]string{
		"certificate.subject": "x509.subject", "certificate.issuer": "x509.issuer", "san.dns": "x509.alternative_names",
		"certificate.key_length": "x509.public_key_size", "certificate.sig_alg": "x509.signature_algorithm",
	}),
	"files": with("file", map[string]string{
		"filename": "file.name", "mime_type": "file.mime_type", "source": "file.source", "is_orig": "file.from_originator",
		"md5": "file.hash.md5", "sha1": "file.hash.sha1", "sha256": "file.hash.sha256",
	}),
	"smb_files": with("smb", map[string]string{"action": "smb.action", "path": "smb.path", "name": "smb.name", "size": "smb.size"}),
	"dce_rpc":   with("dcerpc", map[string]string{"operation": "application.command", "endpoint": "application.argument", "named_pipe": "application.names"}),
	"kerberos": with("kerberos", map[string]string{
		"request_type": "kerberos.request_type", "client": "kerberos.client", "service": "kerberos.service", "success": "kerberos.success",
		"error_msg": "kerberos.error", "cipher": "kerberos.cipher",
	}),
	"rdp": with("rdp", map[string]string{
		"cookie": "rdp.cookie", "result": "rdp.result", "security_protocol": "rdp.security_protocol", "client_name": "rdp.client_name", "client_build": "rdp.client_build",
	}),
	"ssh": with("ssh", map[string]string{
		"client": "ssh.client", "server": "ssh.server", "hassh": "ssh.hassh", "hasshServer": "ssh.hassh_server", "host_key": "ssh.host_key",
		"auth_success": "ssh.auth.success", "auth_attempts": "ssh.auth.attempts",
	}),
}

func with(kind string, columns map[string]string) source {
	s := source{kind, map[string]string{}}
	for _, m := range []map[string]string{ends, columns} {
		for k, v := range m {
			s.fields[k] = v
		}
	}
	return s
}

// types are the types of the fields of records, by name.
var types = func() map[string]string {
	m := map[string]string{}
	for _, f := range rules.Fields("event") {
		m[f.Name] = f.Type
	}
	return m
}()

// known keeps the techniques that rules can name.
func known(ids []string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return !rules.KnowsTechnique(id) })
}
