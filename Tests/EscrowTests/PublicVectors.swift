import Testing

/// Test vectors of SLIP-39 as its authors publish them (vectors.json of python-shamir-mnemonic, MIT licence, Copyright 2018
/// Andrew R. Kozlik). The passphrase is "TREZOR". An empty secret means that the shares must be refused.
struct PublicVector: Sendable, CustomTestStringConvertible {
    let name: String
    let shares: [String]
    let secret: String

    var testDescription: String { name }

    /// One vector a block: name, shares, then the secret or "refused".
    static let all: [PublicVector] = text.split(separator: "\n\n").map { block in
        let lines = block.split(separator: "\n").map(String.init)
        let secret = lines[lines.count - 1]
        return PublicVector(
            name: lines[0], shares: Array(lines[1..<(lines.count - 1)]), secret: secret == "refused" ? "" : secret)
    }

    // swift-format-ignore
    private static let text = """
1. Valid mnemonic without sharing (128 bits)
duckling enlarge academic academic agency result length solution fridge kidney coal piece deal husband erode duke ajar critical decision keyboard
bb54aac4b89dc868ba37d9cc21b2cece

2. Mnemonic with invalid checksum (128 bits)
duckling enlarge academic academic agency result length solution fridge kidney coal piece deal husband erode duke ajar critical decision kidney
refused

3. Mnemonic with invalid padding (128 bits)
duckling enlarge academic academic email result length solution fridge kidney coal piece deal husband erode duke ajar music cargo fitness
refused

4. Basic sharing 2-of-3 (128 bits)
shadow pistol academic always adequate wildlife fancy gross oasis cylinder mustang wrist rescue view short owner flip making coding armed
shadow pistol academic acid actress prayer class unknown daughter sweater depict flip twice unkind craft early superior advocate guest smoking
b43ceb7e57a0ea8766221624d01b0864

5. Basic sharing 2-of-3, one share (128 bits)
shadow pistol academic always adequate wildlife fancy gross oasis cylinder mustang wrist rescue view short owner flip making coding armed
refused

6. Mnemonics with different identifiers (128 bits)
adequate smoking academic acid debut wine petition glen cluster slow rhyme slow simple epidemic rumor junk tracks treat olympic tolerate
adequate stay academic agency agency formal party ting frequent learn upstairs remember smear leaf damage anatomy ladle market hush corner
refused

7. Mnemonics with different iteration exponents (128 bits)
peasant leaves academic acid desert exact olympic math alive axle trial tackle drug deny decent smear dominant desert bucket remind
peasant leader academic agency cultural blessing percent network envelope medal junk primary human pumps jacket fragment payroll ticket evoke voice
refused

8. Mnemonics with mismatching group thresholds (128 bits)
liberty category beard echo animal fawn temple briefing math username various wolf aviation fancy visual holy thunder yelp helpful payment
liberty category beard email beyond should fancy romp founder easel pink holy hairy romp loyalty material victim owner toxic custody
liberty category academic easy being hazard crush diminish oral lizard reaction cluster force dilemma deploy force club veteran expect photo
refused

9. Mnemonics with mismatching group counts (128 bits)
average senior academic leaf broken teacher expect surface hour capture obesity desire negative dynamic dominant pistol mineral mailman iris aide
average senior academic agency curious pants blimp spew clothes slice script dress wrap firm shaft regular slavery negative theater roster
refused

10. Mnemonics with greater group threshold than group counts (128 bits)
music husband acrobat acid artist finance center either graduate swimming object bike medical clothes station aspect spider maiden bulb welcome
music husband acrobat agency advance hunting bike corner density careful material civil evil tactics remind hawk discuss hobo voice rainbow
music husband beard academic black tricycle clock mayor estimate level photo episode exclude ecology papa source amazing salt verify divorce
refused

11. Mnemonics with duplicate member indices (128 bits)
device stay academic always dive coal antenna adult black exceed stadium herald advance soldier busy dryer daughter evaluate minister laser
device stay academic always dwarf afraid robin gravity crunch adjust soul branch walnut coastal dream costume scholar mortgage mountain pumps
refused

12. Mnemonics with mismatching member thresholds (128 bits)
hour painting academic academic device formal evoke guitar random modern justice filter withdraw trouble identify mailman insect general cover oven
hour painting academic agency artist again daisy capital beaver fiber much enjoy suitable symbolic identify photo editor romp float echo
refused

13. Mnemonics giving an invalid digest (128 bits)
guilt walnut academic acid deliver remove equip listen vampire tactics nylon rhythm failure husband fatigue alive blind enemy teaspoon rebound
guilt walnut academic agency brave hamster hobo declare herd taste alpha slim criminal mild arcade formal romp branch pink ambition
refused

14. Insufficient number of groups (128 bits, case 1)
eraser senior beard romp adorn nuclear spill corner cradle style ancient family general leader ambition exchange unusual garlic promise voice
refused

15. Insufficient number of groups (128 bits, case 2)
eraser senior decision scared cargo theory device idea deliver modify curly include pancake both news skin realize vitamins away join
eraser senior decision roster beard treat identify grumpy salt index fake aviation theater cubic bike cause research dragon emphasis counter
refused

16. Threshold number of groups, but insufficient number of members in one group (128 bits)
eraser senior decision shadow artist work morning estate greatest pipeline plan ting petition forget hormone flexible general goat admit surface
eraser senior beard romp adorn nuclear spill corner cradle style ancient family general leader ambition exchange unusual garlic promise voice
refused

17. Threshold number of groups and members in each group (128 bits, case 1)
eraser senior decision roster beard treat identify grumpy salt index fake aviation theater cubic bike cause research dragon emphasis counter
eraser senior ceramic snake clay various huge numb argue hesitate auction category timber browser greatest hanger petition script leaf pickup
eraser senior ceramic shaft dynamic become junior wrist silver peasant force math alto coal amazing segment yelp velvet image paces
eraser senior ceramic round column hawk trust auction smug shame alive greatest sheriff living perfect corner chest sled fumes adequate
eraser senior decision smug corner ruin rescue cubic angel tackle skin skunk program roster trash rumor slush angel flea amazing
7c3397a292a5941682d7a4ae2d898d11

18. Threshold number of groups and members in each group (128 bits, case 2)
eraser senior decision smug corner ruin rescue cubic angel tackle skin skunk program roster trash rumor slush angel flea amazing
eraser senior beard romp adorn nuclear spill corner cradle style ancient family general leader ambition exchange unusual garlic promise voice
eraser senior decision scared cargo theory device idea deliver modify curly include pancake both news skin realize vitamins away join
7c3397a292a5941682d7a4ae2d898d11

19. Threshold number of groups and members in each group (128 bits, case 3)
eraser senior beard romp adorn nuclear spill corner cradle style ancient family general leader ambition exchange unusual garlic promise voice
eraser senior acrobat romp bishop medical gesture pumps secret alive ultimate quarter priest subject class dictate spew material endless market
7c3397a292a5941682d7a4ae2d898d11

20. Valid mnemonic without sharing (256 bits)
theory painting academic academic armed sweater year military elder discuss acne wildlife boring employer fused large satoshi bundle carbon diagnose anatomy hamster leaves tracks paces beyond phantom capital marvel lips brave detect luck
989baf9dcaad5b10ca33dfd8cc75e42477025dce88ae83e75a230086a0e00e92

22. Mnemonic with invalid padding (256 bits)
theory painting academic academic campus sweater year military elder discuss acne wildlife boring employer fused large satoshi bundle carbon diagnose anatomy hamster leaves tracks paces beyond phantom capital marvel lips facility obtain sister
refused

23. Basic sharing 2-of-3 (256 bits)
humidity disease academic always aluminum jewelry energy woman receiver strategy amuse duckling lying evidence network walnut tactics forget hairy rebound impulse brother survive clothes stadium mailman rival ocean reward venture always armed unwrap
humidity disease academic agency actress jacket gross physics cylinder solution fake mortgage benefit public busy prepare sharp friar change work slow purchase ruler again tricycle involve viral wireless mixture anatomy desert cargo upgrade
c938b319067687e990e05e0da0ecce1278f75ff58d9853f19dcaeed5de104aae

38. Threshold number of groups and members in each group (256 bits, case 3)
wildlife deal beard romp alcohol space mild usual clothes union nuclear testify course research heat listen task location thank hospital slice smell failure fawn helpful priest ambition average recover lecture process dough stadium
wildlife deal acrobat romp anxiety axis starting require metric flexible geology game drove editor edge screw helpful have huge holy making pitch unknown carve holiday numb glasses survive already tenant adapt goat fangs
5385577c8cfc6c1a8aa0f7f10ecde0a3318493262591e78b8c14c6686167123b

39. Mnemonic with insufficient length
junk necklace academic academic acne isolate join hesitate lunar roster dough calcium chemical ladybug amount mobile glasses verify cylinder
refused

40. Mnemonic with invalid master secret length
fraction necklace academic academic award teammate mouse regular testify coding building member verdict purchase blind camera duration email prepare spirit quarter
refused
"""
}
