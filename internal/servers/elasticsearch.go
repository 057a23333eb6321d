package servers

import (
	"archive/zip"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// elasticsearchVersion is of the distribution that Elastic publishes for integration
// tests (Maven Central). It is used in tests and never shipped.
//
// It lacks what the full one has in modules: GET /, the data stream and ILM APIs,
// ingest processors, API keys, and the field types constant_keyword, wildcard,
// match_only_text and scaled_float.
const elasticsearchVersion = "8.19.7"

// Search is an Elasticsearch or OpenSearch.
type Search struct {
	URL        string
	OpenSearch bool
	// User and Password, and the path of its certificate authority, where it asks
	// for them.
	User, Password, CA string

	Process *Process // nil for a server that was there already

	tool func(name string, args ...string) *exec.Cmd // of a server that asks for passwords
}

// Elasticsearch returns the server that the tests of a package share, without
// passwords and TLS: the one that TIDEWATCH_TEST_ELASTICSEARCH names, or one that it
// starts. Tests do not change its settings.
func Elasticsearch(t testing.TB) *Search {
	t.Helper()
	if url := os.Getenv("TIDEWATCH_TEST_ELASTICSEARCH"); url != "" {
		return &Search{URL: strings.TrimRight(url, "/")}
	}
	return sharedElasticsearch.get(t, func() (*Search, error) { return startElasticsearch(false, quick, nil) })
}

// StartElasticsearch starts a server of t's own with settings such as
// "indexing_pressure.memory.limit=64kb". With secure it asks for a password and speaks
// TLS, as a new installation does.
func StartElasticsearch(t testing.TB, secure bool, settings ...string) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return startElasticsearch(secure, quick, settings) })
}

// BenchElasticsearch starts a server that compiles all it can, as one in use does.
func BenchElasticsearch(t testing.TB) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return startElasticsearch(false, "-XX:+TieredCompilation", nil) })
}

// once starts a shared server when the first test asks for it.
type once struct {
	sync.Once
	server *Search
	err    error
}

var sharedElasticsearch, sharedOpenSearch once

func (o *once) get(t testing.TB, start func() (*Search, error)) *Search {
	t.Helper()
	o.Do(func() {
		if o.server, o.err = start(); o.err == nil {
			untilClose(o.server.close)
		}
	})
	return checked(t, o.server, o.err)
}

func own(t testing.TB, start func() (*Search, error)) *Search {
	t.Helper()
	s, err := start()
	s = checked(t, s, err)
	t.Cleanup(s.close)
	return s
}

func checked(t testing.TB, s *Search, err error) *Search {
	t.Helper()
	switch {
	case errors.Is(err, errMissing):
		missing(t, err)
	case err != nil:
		t.Fatal(err)
	}
	return s
}

// errMissing says that a program is not installed.
var errMissing = errors.New("a server is not installed")

func (s *Search) close() {
	s.Process.Stop()
	_ = os.RemoveAll(filepath.Dir(s.Process.Log))
}

// AddUser adds a user with a role, in the server's files: it knows them some seconds
// later. If the role is not one that is built in, JSON says what it may do.
func (s *Search) AddUser(name, password, role, JSON string) error {
	if JSON != "" {
		roles := filepath.Join(filepath.Dir(s.Process.Log), "config", "roles.yml")
		if err := os.WriteFile(roles, []byte(role+": "+JSON+"\n"), 0o644); err != nil { // JSON is YAML
			return err
		}
	}
	out, err := s.tool("elasticsearch-users", "useradd", name, "-p", password, "-r", role).CombinedOutput()
	if err != nil {
		return fmt.Errorf("elasticsearch-users: %w: %s", err, out)
	}
	return nil
}

// Client returns a client that trusts the server's certificate.
func (s *Search) Client() (*http.Client, error) {
	if s.CA == "" {
		return &http.Client{}, nil
	}
	pem, err := os.ReadFile(s.CA)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", s.CA)
	}
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}}, nil
}

// Do sends a request with the body and returns the answer's status and body.
func (s *Search) Do(ctx context.Context, method, path, body string) (int, []byte, error) {
	c, err := s.Client()
	if err != nil {
		return 0, nil, err
	}
	defer c.CloseIdleConnections()
	req, err := http.NewRequestWithContext(ctx, method, s.URL+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", "application/json")
	if s.User != "" {
		req.SetBasicAuth(s.User, s.Password)
	}
	res, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	return res.StatusCode, b, err
}

// healthy asks for the state of the cluster, which is known once it has a master.
func (s *Search) healthy(ctx context.Context) error {
	status, body, err := s.Do(ctx, http.MethodGet, "/_cluster/health?wait_for_status=yellow&timeout=1s", "")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("status %d: %.200s", status, body)
	}
	return err
}

func startElasticsearch(secure bool, java string, settings []string) (*Search, error) {
	home, err := elasticsearchHome()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "elasticsearch")
	if err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config")
	if err := os.CopyFS(config, os.DirFS(filepath.Join(home, "config"))); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	scheme := "http"
	if secure {
		scheme = "https"
	}
	args := []string{
		"-E", "discovery.type=single-node", "-E", "network.host=127.0.0.1",
		"-E", fmt.Sprint("http.port=", ports[0]), "-E", fmt.Sprint("transport.port=", ports[1]),
		"-E", "path.data=" + filepath.Join(dir, "data"), "-E", "path.logs=" + filepath.Join(dir, "logs"),
		// The disk of a machine that tests is often nearly full.
		"-E", "cluster.routing.allocation.disk.threshold_enabled=false",
	}
	if !secure {
		args = append(args, "-E", "xpack.security.enabled=false")
	}
	for _, s := range settings {
		args = append(args, "-E", s)
	}
	s := &Search{URL: fmt.Sprintf("%s://127.0.0.1:%d", scheme, ports[0])}
	program := func(name string, args ...string) *exec.Cmd {
		cmd := exec.Command(filepath.Join(home, "bin", name), args...)
		cmd.Env = append(os.Environ(), "ES_JAVA_HOME="+javaHome(), "ES_PATH_CONF="+config, "ES_JAVA_OPTS=-Xms512m -Xmx512m "+java, "CLI_JAVA_OPTS="+quick, "HOME="+dir, "ES_TMPDIR="+filepath.Join(dir, "tmp"))
		cmd.Dir = dir
		if os.Getuid() == 0 {
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody, Gid: nobody}}
		}
		return cmd
	}
	s.Process = &Process{
		Log:     filepath.Join(dir, "printed.log"),
		command: func() *exec.Cmd { return program("elasticsearch", args...) },
		ready:   s.healthy,
	}
	if err := os.Mkdir(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return nil, err
	}
	if err := giveAway(dir); err != nil {
		return nil, err
	}
	if secure {
		s.User, s.Password, s.CA = "tester", "swordfish-7", filepath.Join(config, "certs", "http_ca.crt")
		s.tool = program
		if err := s.AddUser(s.User, s.Password, "superuser", ""); err != nil {
			return nil, err
		}
	}
	return s, s.Process.Start()
}

// giveAway gives a folder to nobody, if this is root.
func giveAway(dir string) error {
	if os.Getuid() != 0 {
		return nil
	}
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, nobody, nobody)
		}
		return err
	})
}

// quick are options of Java that halve the time until a server answers, and cost it
// throughput. Benchmarks use a server that was started without.
const quick = "-XX:TieredStopAtLevel=1"

// javaHome returns the folder of the Java runtime.
func javaHome() string {
	java, err := exec.LookPath("java")
	if err == nil {
		java, err = filepath.EvalSymlinks(java)
	}
	if err != nil {
		return ""
	}
	return filepath.Dir(filepath.Dir(java))
}

// elasticsearchHome returns the folder of an installed Elasticsearch.
func elasticsearchHome() (string, error) {
	if _, err := exec.LookPath("java"); err != nil {
		return "", fmt.Errorf("%w: Elasticsearch needs Java", errMissing)
	}
	dir, err := Folder()
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, "elasticsearch-"+elasticsearchVersion)
	if _, err := os.Stat(home); err != nil {
		return "", fmt.Errorf("%w: %w", errMissing, err)
	}
	return home, nil
}

// InstallElasticsearch fetches Elasticsearch from Maven Central, unless it is there.
func InstallElasticsearch() error {
	dir, err := Folder()
	if err != nil {
		return err
	}
	name := "elasticsearch-" + elasticsearchVersion
	if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
		return nil
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	// Installed under a name of its own, then renamed: two may install at once.
	tmp, err := os.MkdirTemp(dir, "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	err = run("mvn", "-q", "-B", "dependency:copy", "-DoutputDirectory="+tmp,
		"-Dartifact=org.elasticsearch.distribution.integ-test-zip:elasticsearch:"+elasticsearchVersion+":zip")
	if err != nil {
		return err
	}
	if err := unzip(filepath.Join(tmp, name+".zip"), tmp); err != nil {
		return err
	}
	err = os.Rename(filepath.Join(tmp, name), filepath.Join(dir, name))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// unzip unpacks an archive that is trusted.
func unzip(archive, dir string) error {
	z, err := zip.OpenReader(archive)
	if err != nil {
		return err
	}
	defer z.Close()
	for _, f := range z.File {
		if err := unzipFile(f, filepath.Join(dir, filepath.FromSlash(f.Name))); err != nil {
			return err
		}
	}
	return nil
}

func unzipFile(f *zip.File, path string) error {
	if f.FileInfo().IsDir() {
		return os.MkdirAll(path, 0o755)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_EXCL, f.Mode()|0o444)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}
