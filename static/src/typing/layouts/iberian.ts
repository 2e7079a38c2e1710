// Layouts of Spanish and Portuguese: keys as X.Org's xkeyboard-config has them (symbols/es, latam, pt, br), and what
// Windows does otherwise (Microsoft's kbdsp, kbdla, kbdpo, kbdbr).

import type { Table } from "../table";

export const IBERIAN: readonly Table[] = [
  {
    id: "es",
    name: "Spanish",
    keys: `
ºª 1! 2" 3· 4$ 5% 6& 7/ 8( 9) 0= '? ¡¿
qQ wW eE rR tT yY uU iI oO pP ◌\`◌^ +*
aA sS dD fF gG hH jJ kK lL ñÑ ◌´◌¨ çÇ
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "º\\ 1| 2@ 3# 4◌~ 5€ 6¬ e€ ◌`[ +] ◌´{ ç}",
    other: "º\\\\ 1|¡ 2@⅛ 3#£ 4~$ ◌`[ +] ñ◌~ ◌´{ ç}",
    latin: true,
  },
  {
    id: "latam",
    name: "Spanish (Latin America)",
    keys: `
|° 1! 2" 3# 4$ 5% 6& 7/ 8( 9) 0= '? ¿¡
qQ wW eE rR tT yY uU iI oO pP ◌´◌¨ +*
aA sS dD fF gG hH jJ kK lL ñÑ {[ }]
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "|¬ '\\ q@ +~ {◌^ }◌`",
    other: "1|¡ 2@⅛ 3·£ 4~$ +~ ñ~ {◌^{ }◌`} <\\|",
    latin: true,
  },
  {
    id: "pt",
    name: "Portuguese",
    keys: `
\\| 1! 2" 3# 4$ 5% 6& 7/ 8( 9) 0= '? «»
qQ wW eE rR tT yY uU iI oO pP +* ◌´◌\`
aA sS dD fF gG hH jJ kK lL çÇ ºª ◌~◌^
<> zZ xX cC vV bB nN mM ,; .: -_`,
    windows: "2@ 3£ 4§ 5€ 7{ 8[ 9] 0} +◌¨ e€",
    other: "2@⅛ 3££ 4§$ ◌´◌~ <\\\\",
    latin: true,
  },
  {
    id: "br",
    name: "Portuguese (Brazil, ABNT2)",
    keys: `
'" 1! 2@ 3# 4$ 5% 6◌¨ 7& 8* 9( 0) -_ =+
qQ wW eE rR tT yY uU iI oO pP ◌´◌\` [{
aA sS dD fF gG hH jJ kK lL çÇ ◌~◌^ ]}
\\| zZ xX cC vV bB nN mM ,< .> ;: /?`,
    windows: "1¹ 2² 3³ 4£ 5¢ 6¬ =§ q/ w? e° [ª ]º c₢",
    other: "2²½ 3³¾ 4£¼ 5¢⅜ 6¬ =§ q/ w? e° r® ◌´␀` [ª ◌~~^ ]º \\␀ c© mµ /°¿",
    latin: true,
  },
];
