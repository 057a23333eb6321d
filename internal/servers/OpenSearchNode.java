import java.io.IOException;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/** Runs one OpenSearch node until it is stopped. Arguments: a folder, then settings as name=value. */
public class OpenSearchNode {
    public static void main(String[] args) throws Exception {
        var runner = new OpenSearchRunner();
        runner.onBuild((number, settings) -> {
            settings.putList("node.roles", "cluster_manager", "data", "ingest");
            for (int i = 1; i < args.length; i++) {
                var at = args[i].indexOf('=');
                settings.put(args[i].substring(0, at), args[i].substring(at + 1));
            }
        });
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            try {
                runner.close();
            } catch (IOException e) {
                e.printStackTrace();
            }
        }));
        try {
            var configs = OpenSearchRunner.newConfigs().basePath(args[0]).numOfNode(1);
            var modules = System.getProperty("modules"); // all, if it is not set
            if (modules != null) {
                configs.moduleTypes(modules);
            }
            runner.build(configs);
        } catch (Throwable t) {
            t.printStackTrace();
            System.exit(1);
        }
        Thread.sleep(Long.MAX_VALUE);
    }
}
