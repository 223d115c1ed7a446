import Testing

@Suite("Dependencies")
struct DependencyTests {
    /// Part of the toolchain or of the operating system, and wanted.
    private static let systemModules: Set<String> = [
        "Swift", "Glibc", "Dispatch", "Synchronization", "FoundationEssentials", "RegexBuilder",
    ]
    private static let refused = [
        "Foundation": "full Foundation adds 45 MB to every static binary; FoundationEssentials has what is needed",
        "FoundationNetworking": "HTTPClient and HTTPServer are the only ways to the network",
    ]

    /// Nil if the target may import the module, else why not.
    private static func objection(to module: String, in entry: PackageTable.Entry, _ table: PackageTable) -> String? {
        // Tests and measurements never reach a customer.
        let isShipped = !entry.path.hasPrefix("Tests/") && !entry.path.hasPrefix("Benchmarks/")
        if let reason = refused[module], isShipped { return reason }
        if module == "Foundation" { return nil }
        if module == entry.name || systemModules.contains(module) { return nil }
        if entry.kind == .test && module == "Testing" { return nil }
        if entry.targets.contains(module) || entry.products.contains(module) { return nil }
        // The module of a program, which has a dash in its name.
        if entry.targets.contains(module.replacing("_", with: "-")) { return nil }
        let declared = table[module] == nil ? "no dependency" : "a target of this package, but no dependency"
        return "\(module) is \(declared) of \(entry.name) in Package.swift"
    }

    @Test("Every Swift import is declared in the package description")
    func declaredImports() async throws {
        let table = try await PackageTable.own.value
        var faults: [String] = []
        var count = 0
        for file in try Repository.swiftFiles.get() {
            guard let entry = table[file.target] else {
                faults.append("\(file.path) belongs to no target")
                continue
            }
            for found in file.source.imports {
                count += 1
                if let why = Self.objection(to: found.module, in: entry, table) {
                    faults.append("\(file.path):\(found.line): \(why)")
                }
            }
        }
        #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
        #expect(count > 100, "only \(count) imports were found: the scanner is blind")
    }

    @Test("The check of imports finds what is not declared and what is refused")
    func declaredImportsControl() throws {
        let table = try PackageTable(json: Array(Self.sample.utf8))
        let low = try #require(table["Low"])
        let lowTests = try #require(table["LowTests"])
        #expect(Self.objection(to: "High", in: low, table) != nil)
        #expect(Self.objection(to: "NIOCore", in: low, table) != nil)
        #expect(Self.objection(to: "Testing", in: low, table) != nil)
        #expect(Self.objection(to: "Foundation", in: low, table)?.contains("45 MB") == true)
        #expect(Self.objection(to: "Foundation", in: lowTests, table) == nil)
        #expect(Self.objection(to: "Logging", in: low, table) == nil)
        #expect(Self.objection(to: "Glibc", in: low, table) == nil)
        #expect(Self.objection(to: "Testing", in: lowTests, table) == nil)
        #expect(Self.objection(to: "Low", in: lowTests, table) == nil)
    }

    private static let sample = """
        {"name": "p", "targets": [
          {"name": "Low", "type": "regular", "dependencies": [{"product": ["Logging", "swift-log", null, null]}]},
          {"name": "High", "type": "executable", "path": "Elsewhere/High", "dependencies": [{"byName": ["Low", null]}]},
          {"name": "LowTests", "type": "test", "dependencies": [{"target": ["Low", {"platformNames": ["linux"]}]}]}]}
        """

    @Test("The package description is read with targets, products, paths and conditions")
    func tableControl() throws {
        let table = try PackageTable(json: Array(Self.sample.utf8))
        #expect(table["Low"]?.products == ["Logging"])
        #expect(table["High"]?.path == "Elsewhere/High")
        #expect(table["LowTests"]?.targets == ["Low"])
        #expect(table["LowTests"]?.path == "Tests/LowTests")
        #expect(throws: (any Error).self) {
            try PackageTable(json: Array(#"{"targets": [{"name": "X", "type": "macro", "dependencies": []}]}"#.utf8))
        }
    }

    @Test("C headers are included by the wrappers of their library only")
    func includes() throws {
        let allowed = [
            "COpenSSL": ["openssl/"], "CSystemd": ["systemd/", "sys/"], "CPostgreSQL": ["libpq-fe.h"],
            "CPKCS11": ["p11-kit/pkcs11.h", "dlfcn.h"], "CStemmer": ["libstemmer.h"],
            "CLDAP": ["lber.h", "ldap.h", "sys/"],
            "CArchive": ["archive.h", "archive_entry.h"],
            "CXML": ["libxml/", "stdlib.h", "string.h"],
            "CSeccomp": ["seccomp.h", "linux/landlock.h", "errno.h", "stddef.h", "stdint.h", "sys/", "unistd.h"],
        ]
        var faults: [String] = []
        for file in try Repository.files(below: "Sources", endings: [".h", ".c", ".cpp", ".m", ".modulemap"]) {
            for (index, line) in file.text.split(separator: "\n", omittingEmptySubsequences: false).enumerated() {
                guard let header = Self.includedHeader(line) else { continue }
                if allowed[file.target, default: []].contains(where: header.hasPrefix) { continue }
                faults.append("\(file.path):\(index + 1): <\(header)> is not one that \(file.target) wraps")
            }
        }
        #expect(faults.isEmpty, "\(faults.joined(separator: "\n"))")
        #expect(Self.includedHeader("  #  include <openssl/evp.h> // x") == "openssl/evp.h")
        #expect(Self.includedHeader("#include \"../secret.h\"") == "../secret.h")
        #expect(Self.includedHeader("int include;") == nil)
    }

    private static func includedHeader(_ line: Substring) -> String? {
        let squeezed = line.filter { !$0.isWhitespace }
        guard squeezed.hasPrefix("#include") || squeezed.hasPrefix("#import") else { return nil }
        return squeezed.split { "<>\"".contains($0) }.dropFirst().first.map(String.init)
    }

    @Test("No dependency crosses a trust wall")
    func walls() async throws {
        let graph = try await ModuleGraph.own.value
        let crossings = TrustWall.all.flatMap { $0.crossings(in: graph) }
        #expect(crossings.isEmpty, "\(crossings.joined(separator: "\n"))")
        let ghosts = TrustWall.all.flatMap { $0.ghosts(in: graph) }
        #expect(ghosts.isEmpty, "TrustWall.swift names modules that are not there: \(ghosts)")
        // The graph is not empty where it matters: the same walls, seen from modules that may.
        #expect(graph.way(from: "hds-kms", to: "MasterKey") != nil)
        #expect(graph.way(from: "hds-core", to: "CloudCore") != nil)
        #expect(graph.way(from: "KMSClient", to: "Encryption") != nil)
        #expect(graph.way(from: "hds-core", to: "COpenSSL") != nil)
    }

    @Test("A wall finds a crossing through others and tells the way and the reason")
    func wallControl() throws {
        var graph = ModuleGraph([
            "hds-core": ["CloudCore"], "CloudCore": ["Helper"], "Helper": ["JOSEEncryption"],
            "JOSEEncryption": ["Encryption"], "hds-auth": ["TokenIssuer"], "TokenIssuerTests": ["TokenIssuer"],
        ])
        let core = try #require(TrustWall.all.first)
        let found = core.crossings(in: graph)
        #expect(found.contains { $0.hasPrefix("CloudCore -> Helper -> JOSEEncryption: the core is not trusted") })
        #expect(found.contains { $0.hasPrefix("hds-core -> CloudCore -> Helper -> JOSEEncryption -> Encryption: ") })

        let issuer = TrustWall.only("hds-auth", mayReach: ["TokenIssuer"], because: "x")
        #expect(issuer.crossings(in: graph).isEmpty)
        graph.add("TokenIssuer", importedBy: "CloudCore")
        #expect(
            issuer.crossings(in: graph) == ["CloudCore -> TokenIssuer: x", "hds-core -> CloudCore -> TokenIssuer: x"])

        let direct = TrustWall.only("B", mayReach: ["C"], .direct, because: "x")
        #expect(direct.crossings(in: ModuleGraph(["A": ["B"], "B": ["C"]])).isEmpty)
        #expect(direct.crossings(in: ModuleGraph(["A": ["C"], "B": ["C"]])) == ["A -> C: x"])

        let family = TrustWall.modules("A", neverReach: ["Key*"], because: "x")
        #expect(family.crossings(in: ModuleGraph(["A": ["KeyStoreSQLite"]])) == ["A -> KeyStoreSQLite: x"])
        #expect(family.ghosts(in: ModuleGraph(["A": ["KeyStoreSQLite"]])) == ["Key*"])
    }

    @Test("Dependencies only lead downwards")
    func layers() async throws {
        let table = try await PackageTable.own.value
        let targets = Set(table.entries.filter { $0.kind != .test && !$0.path.hasPrefix("Tests/") }.map(\.name))
        let climbs = Layers.climbs(in: try await ModuleGraph.own.value, among: targets)
        #expect(climbs.isEmpty, "\(climbs.joined(separator: "\n"))")
        let gone = Layers.floors.joined().filter { !targets.contains($0) }
        #expect(gone.isEmpty, "Layers.swift names modules that are not there: \(gone)")
    }

    @Test("A step upwards and a module without a floor are found")
    func layersControl() {
        let graph = ModuleGraph(["KeyStore": ["KeyManagement"], "KeyManagement": ["KeyStore"], "New": []])
        let climbs = Layers.climbs(in: graph, among: ["KeyStore", "KeyManagement", "New"])
        #expect(climbs.count == 2)
        #expect(climbs.first?.hasPrefix("KeyStore (floor 3) -> KeyManagement (floor 4)") == true)
        #expect(climbs.last?.hasPrefix("New has no floor") == true)
    }

    @Test("Foundations and protocols need nothing from outside: no socket, clock or store")
    func pureLayers() async throws {
        let table = try await PackageTable.own.value
        // ML-KEM comes from a library that is cryptography only (docs/decisions/210-ml-kem-from-swift-crypto.md).
        let impure = table.entries.filter {
            Layers.pure.contains($0.name) && !$0.products.isEmpty
                && !($0.name == "PostQuantum" && $0.products == ["Crypto"])
        }
        #expect(impure.isEmpty, "\(impure.map { "\($0.name) depends on \($0.products)" })")
        let graph = try await ModuleGraph.own.value
        let wall = TrustWall(
            reach: .transitive, named: [], inside: Layers.pure.contains, forbidden: ["NIO*", "GRDB*", "Hummingbird*"],
            reason: "layers 1 and 2 are bytes in, values out")
        #expect(wall.crossings(in: graph).isEmpty)
        let leaky = ModuleGraph(["JOSESignature": ["Cryptography"], "Cryptography": ["NIOCore"]])
        #expect(wall.crossings(in: leaky).count == 2)
    }

    @Test("No module carries a name that says nothing")
    func names() async throws {
        let empty = ["Util", "Common", "Core", "Helper", "Manager", "Misc", "Shared", "Base"]
        func saysNothing(_ name: String) -> Bool {
            empty.contains { name == $0 || name == $0 + "s" || name == $0 + "ities" }
                || name.hasSuffix("Manager") || name.hasSuffix("Helpers") || name.hasSuffix("Utilities")
        }
        let named = try await PackageTable.own.value.entries.map(\.name).filter(saysNothing)
        #expect(named.isEmpty)
        #expect(["Core", "Utilities", "KeyManager", "Helpers"].allSatisfy(saysNothing))
        #expect(!saysNothing("CloudCore") && !saysNothing("CoreLink"))
    }
}
