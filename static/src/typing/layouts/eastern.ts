// Layouts of Polish, Czech, Hungarian, Turkish and Japanese: keys as X.Org's xkeyboard-config has them (symbols/pl,
// cz, hu, tr, jp), and what Windows does otherwise (Microsoft's kbdpl1, kbdcz, kbdhu, kbdtuq, kbd106).

import type { Table } from "../table";

export const EASTERN: readonly Table[] = [
  {
    id: "pl",
    name: "Polish (programmers)",
    keys: `
\`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+
qQ wW eE rR tT yY uU iI oO pP [{ ]}
aA sS dD fF gG hH jJ kK lL ;: '" \\|
␀ zZ xX cC vV bB nN mM ,< .> /?`,
    windowsShift: "`◌~",
    windowsComposed: "~",
    windows: "aąĄ cćĆ eęĘ lłŁ nńŃ oóÓ sśŚ xźŹ zżŻ u€",
    other:
      "`¬∨ 1≠¡ 2²¿ 3³£ 4¢¼ 5€‰ 6½∧ 7§≈ 8·¾ 9«± 0»° -–— qπΩ wœŒ eęĘ r©® tß™ i→↔ oóÓ ]◌~ aąĄ sśŚ fæÆ h’• jəƏ k… " +
      "zżŻ xźŹ cćĆ v„‘ b”“ nńŃ mµ∞ ,≤× .≥÷",
    latin: true,
  },
  {
    id: "cz",
    name: "Czech",
    keys: `
;◌° +1 ě2 š3 č4 ř5 ž6 ý7 á8 í9 é0 =% ◌´◌ˇ
qQ wW eE rR tT zZ uU iI oO pP ú/ )(
aA sS dD fF gG hH jJ kK lL ů" §! ◌¨'
\\| yY xX cC vV bB nN mM ,? .: -_`,
    windows:
      "+~ ě◌ˇ š◌^ č◌˘ ř◌° ž◌˛ á◌˙ í◌´ é◌˝ =◌¨ ◌´◌¸ q\\ w| e€ ú÷ )× sđ dĐ f[ g] kł lŁ ů$ §ß ◌¨¤ " +
      "x# c& v@ b{ n} ,< .> -*",
    windowsComposed: "´aeiouyAEIOUY ˇcdenrstzCDENRSTZ ¨aouAOU ^ °uU ¸",
    other:
      ";`~ +!◌~ ě@ š#◌^ č$ ř% ž^ ý&◌` á* í{◌´ é} =\\◌¨ ◌´␀ q\\Ω w|§ e€ ú[÷ )]× a~Æ sđ dĐÐ f[ª g]Ŋ h`Ħ j' " +
      "kł& lŁ ů$ §'ß ◌¨\\| \\/¦ y° x#> c&© v@‚ b{‘ n}’ m^º ,<× .>÷ -*",
    latin: true,
  },
  {
    id: "hu",
    name: "Hungarian",
    keys: `
0§ 1' 2" 3+ 4! 5% 6/ 7= 8( 9) öÖ üÜ óÓ
qQ wW eE rR tT zZ uU iI oO pP őŐ úÚ
aA sS dD fF gG hH jJ kK lL éÉ áÁ űŰ
íÍ yY xX cC vV bB nN mM ,? .: -_`,
    windows:
      "1~ 2◌ˇ 3◌^ 4◌˘ 5◌° 6◌˛ 7` 8◌˙ 9◌´ ö◌˝ ü◌¨ ó◌¸ q\\ w| eÄ u€ ő÷ ú× aä sđ dĐ f[ g] kł lŁ é$ áß ű¤ " +
      "í< y> x# c& v@ b{ n} ,; -*",
    windowsComposed: "´yY ˇcdenrstzCDENRSTZ ¨aA ^ ¸",
    other:
      "1~◌~ 2␀ˇ 3^◌^ 4␀˘ 5␀° 6␀˛ 7`◌` 8␀˙ 9◌´ ö␀˝ ü◌¨ ó◌¸¸ q\\Ω w|§ eÄ z–¥ u€↑ i␀ o„Ø p”Þ ő÷ ú× aä sđ dĐÐ f[ª " +
      "g]Ŋ j␀ kł& lŁ é$¢ áß ű¤ í< y> x# c&© v@‚ b{‘ n}’ m<º ,;× .>÷ -*",
    latin: true,
  },
  {
    id: "tr",
    name: "Turkish (Q)",
    keys: `
"é 1! 2' 3^ 4+ 5% 6& 7/ 8( 9) 0= *? -_
qQ wW eE rR tT yY uU ıI oO pP ğĞ üÜ
aA sS dD fF gG hH jJ kK lL şŞ iİ ,;
<> zZ xX cC vV bB nN mM öÖ çÇ .:`,
    windowsShift: "3◌^",
    windows: '"< 1> 2£ 3# 4$ 5½ 7{ 8[ 9] 0} *\\ -| q@ e€ ğ◌¨ ü◌~ aæÆ sß ş◌´ ,◌` <|',
    windowsComposed: "´aeiouAEIOU ¨aeiouAEIOU",
    other:
      "\"<° 1>¡ 2£² 3#³ 4$¼ 6¾ 7{ 8[ -| e€ t₺ s␀ uûÛ ıîÎ oôÔ p␀ ü~ aâÂ d␀ fª g␀ h␀ k␀ l␀ ş␀◌´ i' ,`◌` ö×",
    latin: true,
  },
  {
    id: "jp",
    name: "Japanese",
    // XKB's ~ on Shift and 0 is on no keyboard, and Windows does not have it
    keys: `
␀ 1! 2" 3# 4$ 5% 6& 7' 8( 9) 0 -= ^~ \\|
qQ wW eE rR tT yY uU iI oO pP @\` [{
aA sS dD fF gG hH jJ kK lL ;+ :* ]}
␀ zZ xX cC vV bB nN mM ,< .> /? \\_`,
  },
];
