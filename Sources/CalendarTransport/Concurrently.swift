/// Several requests at once, for services that have no request for several things.
package enum Concurrently {
    /// The results in the order of the items, at most `width` of them being made at once; the first error ends the rest.
    package static func map<Item: Sendable, Result: Sendable>(
        _ items: [Item], width: Int = 4, _ body: @escaping @Sendable (Item) async throws -> Result
    ) async throws -> [Result] {
        try await withThrowingTaskGroup(of: (Int, Result).self) { group in
            var results = [Result?](repeating: nil, count: items.count)
            var next = 0
            func add() {
                guard next < items.count else { return }
                let (place, item) = (next, items[next])
                next += 1
                group.addTask { (place, try await body(item)) }
            }
            for _ in 0..<max(1, width) { add() }
            while let (place, result) = try await group.next() {
                results[place] = result
                add()
            }
            return results.compactMap { $0 }
        }
    }
}
