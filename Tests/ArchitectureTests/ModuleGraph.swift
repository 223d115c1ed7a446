/// Who depends on whom: what the package description declares, together with what the sources really import.
struct ModuleGraph {
    private(set) var edges: [String: Set<String>]

    init(_ edges: [String: Set<String>]) { self.edges = edges }

    init(_ table: PackageTable) {
        edges = Dictionary(uniqueKeysWithValues: table.entries.map { ($0.name, Set($0.targets + $0.products)) })
    }

    mutating func add(_ module: String, importedBy target: String) { edges[target, default: []].insert(module) }

    var modules: [String] { edges.keys.sorted() }

    /// The shortest way from one module to another as `A -> B -> C`, nil if there is none.
    func way(from start: String, to end: String) -> String? {
        var before: [String: String] = [:]
        var frontier = [start]
        while !frontier.isEmpty {
            var next: [String] = []
            for module in frontier {
                for neighbour in edges[module, default: []].sorted() where before[neighbour] == nil {
                    before[neighbour] = module
                    if neighbour == end { return Self.text(before, from: start, to: end) }
                    next.append(neighbour)
                }
            }
            frontier = next
        }
        return nil
    }

    private static func text(_ before: [String: String], from start: String, to end: String) -> String {
        var way = [end]
        var module = end
        while let previous = before[module] {
            way.append(previous)
            module = previous
            if module == start { break }
        }
        return way.reversed().joined(separator: " -> ")
    }

    /// Package description and sources, joined.
    static let own = Task {
        var graph = ModuleGraph(try await PackageTable.own.value)
        for file in try Repository.swiftFiles.get() {
            for module in file.source.imports { graph.add(module.module, importedBy: file.target) }
        }
        return graph
    }
}
