package servers

import (
	_ "embed"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openSearchVersion is of the runner, which brings OpenSearch 2.19.1 with it
// (Apache-2.0). Node and its modules are complete but for security and plugins.
const openSearchVersion = "2.19.1.0"

//go:embed opensearch.xml
var openSearchProject string

//go:embed OpenSearchNode.java
var openSearchNode []byte

// OpenSearch returns the server that the tests of a package share: the one that
// TIDEWATCH_TEST_OPENSEARCH names, or one that it starts.
func OpenSearch(t testing.TB) *Search {
	t.Helper()
	if url := os.Getenv("TIDEWATCH_TEST_OPENSEARCH"); url != "" {
		return &Search{URL: strings.TrimRight(url, "/"), OpenSearch: true}
	}
	return sharedOpenSearch.get(t, func() (*Search, error) { return startOpenSearch(quick, nil) })
}

// StartOpenSearch starts a server of t's own.
func StartOpenSearch(t testing.TB, settings ...string) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return startOpenSearch(quick, settings) })
}

// BenchOpenSearch starts a server that compiles all it can, as one in use does.
func BenchOpenSearch(t testing.TB) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return startOpenSearch("-XX:+TieredCompilation", nil) })
}

func startOpenSearch(java string, settings []string) (*Search, error) {
	home, err := openSearchHome()
	if err != nil {
		return nil, err
	}
	// The node is one file of source, which this compiles.
	if _, err := exec.LookPath("javac"); err != nil {
		return nil, fmt.Errorf("%w: OpenSearch needs a JDK", errMissing)
	}
	dir, err := os.MkdirTemp("", "opensearch")
	if err != nil {
		return nil, err
	}
	source := filepath.Join(dir, "OpenSearchNode.java")
	if err := os.WriteFile(source, openSearchNode, 0o644); err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	args := []string{
		"-Xms512m", "-Xmx512m", java, "-cp", filepath.Join(home, "*"), source, filepath.Join(dir, "node"),
		fmt.Sprint("http.port=", ports[0]), fmt.Sprint("transport.port=", ports[1]), "network.host=127.0.0.1",
		"discovery.type=single-node", "cluster.name=tests", "cluster.routing.allocation.disk.threshold_enabled=false",
	}
	args = append(args, settings...)
	s := &Search{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), OpenSearch: true}
	s.Process = &Process{
		Log:     filepath.Join(dir, "printed.log"),
		command: func() *exec.Cmd { return exec.Command("java", args...) },
		ready:   s.healthy,
	}
	return s, s.Process.Start()
}

func openSearchHome() (string, error) {
	dir, err := Folder()
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, "opensearch-"+openSearchVersion)
	if _, err := os.Stat(home); err != nil {
		return "", fmt.Errorf("%w: %w", errMissing, err)
	}
	return home, nil
}

// InstallOpenSearch fetches OpenSearch from Maven Central, unless it is there.
func InstallOpenSearch() error {
	if _, err := openSearchHome(); err == nil {
		return nil
	}
	dir, err := Folder()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	project := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(project, []byte(strings.Replace(openSearchProject, "VERSION", openSearchVersion, 1)), 0o644); err != nil {
		return err
	}
	jars := filepath.Join(tmp, "jars")
	err = run("mvn", "-q", "-B", "-f", project, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory="+jars)
	if err != nil {
		return err
	}
	err = os.Rename(jars, filepath.Join(dir, "opensearch-"+openSearchVersion))
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// freePorts returns ports of 127.0.0.1 that nobody listened on just now.
func freePorts(n int) ([]int, error) {
	var ports []int
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return nil, err
		}
		defer l.Close()
		ports = append(ports, l.Addr().(*net.TCPAddr).Port)
	}
	return ports, nil
}
