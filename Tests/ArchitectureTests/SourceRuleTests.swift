import Testing

@Suite("Source rules")
struct SourceRuleTests {
    @Test("No file is longer than 800 lines")
    func length() throws {
        let files = try Repository.swiftFiles.get()
        let long = files.filter { $0.source.lines.count > 801 }.map(\.path)
        #expect(long.isEmpty, "divide them: \(long)")
    }

    @Test("Nothing is public: modules share by package")
    func publicDeclarations() throws {
        let found = try Repository.swiftFiles.get().flatMap { file in
            (file.source.linesWith(word: "public") + file.source.linesWith(word: "open"))
                .filter { Self.isModifier(in: file.source.code[$0 - 1]) }.map { "\(file.path):\($0)" }
        }
        #expect(found.isEmpty, "\(found.joined(separator: "\n"))")
        #expect(Self.isModifier(in: "    public func open() {"))
        #expect(Self.isModifier(in: "@frozen open class A {"))
        #expect(Self.isModifier(in: "public import A"))
        #expect(!Self.isModifier(in: "    let file = open(path, O_RDONLY)"))
        #expect(!Self.isModifier(in: "    package static func open(_ path: String) {"))
        #expect(!Self.isModifier(in: "    case .public: open"))
    }

    /// Whether `public` or `open` stands where a modifier stands: first, after attributes and other modifiers.
    private static func isModifier(in line: Substring) -> Bool {
        let leading: Set<Substring> = ["final", "static", "nonisolated", "override", "indirect", "lazy", "weak"]
        let words = line.split(whereSeparator: \.isWhitespace)
        let declarations: Set<Substring> = [
            "func", "var", "let", "struct", "class", "enum", "actor", "protocol", "init", "typealias", "extension",
            "import", "static", "final", "subscript", "override",
        ]
        guard let index = words.firstIndex(where: { !($0.hasPrefix("@") || leading.contains($0)) }) else {
            return false
        }
        guard words[index] == "public" || words[index] == "open", index + 1 < words.count else { return false }
        return declarations.contains(words[index + 1].prefix { $0.isLetter })
    }

    @Test("Every claim that the compiler can not check has its reason beside it")
    func uncheckedClaims() throws {
        let found = try Repository.swiftFiles.get().filter { $0.path.hasPrefix("Sources/") }.flatMap { file in
            Self.unexplainedClaims(in: file.source).map { "\(file.path):\($0)" }
        }
        #expect(found.isEmpty, "say why it is safe: \(found.joined(separator: "\n"))")
    }

    private static func unexplainedClaims(in source: SwiftSource) -> [Int] {
        source.code.indices.filter { index in
            source.code[index].contains("@unchecked Sendable") || source.code[index].contains("nonisolated(unsafe)")
        }.map { $0 + 1 }.filter { !source.isExplained(line: $0) }
    }

    @Test("An unexplained claim is found, an explained one and one in a comment are not")
    func uncheckedClaimsControl() {
        let source = SwiftSource(
            """
            final class A: @unchecked Sendable {}
            // Immutable after init.
            final class B: @unchecked Sendable {}
            final class C: @unchecked Sendable {}  // immutable
            /// Immutable.
            @safe
            final class D: @unchecked Sendable {}
            // not @unchecked Sendable
            let text = "@unchecked Sendable"
            nonisolated(unsafe) let pointer = 1
            """)
        #expect(Self.unexplainedClaims(in: source) == [1, 10])
    }

    @Test("The scanner tells code from comments and literals")
    func scanner() {
        let source = SwiftSource(
            ##"""
            // import Commented
            /* import Blocked /* nested */
            import StillBlocked */ import Alpha
            package import Beta
            @testable import Gamma
            @preconcurrency internal import struct Delta.Thing
            let a = "import Quoted"; import Epsilon
            let b = """
                import Lines
                """
            let c = #"import "Raw"# ; let d = "\(a) \" import Escaped"
            import func Zeta.run
            let important = 1
            """##)
        #expect(source.imports.map(\.module) == ["Alpha", "Beta", "Gamma", "Delta", "Epsilon", "Zeta"])
        #expect(source.imports.map(\.line) == [3, 4, 5, 6, 7, 12])
        #expect(source.linesWith(word: "import").count == 6)
        #expect(source.linesWith(word: "important") == [13])
    }
}
